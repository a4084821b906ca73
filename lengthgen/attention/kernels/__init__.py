"""Exact causal self-attention, one file an idea. dispatch.py chooses; none knows schemes or models.

- Whole kernels: reference.py (the definition, with which every other is compared), sdpa.py, cpu.py
  (backward of learned biases: recompute.py; long windows: tiles.py) and flex.py (its needs:
  flex_needs.py; its tiles: flex_tiles.py; gates in float32: split_gates.py; gradient of the bias:
  bias_tap.py, by triton_bias.py and triton_gates.py, or torch_bias.py). general.py: a scheme's own
  scores, in training by row_blocks.py.
- What a chunk of query rows sees: offsets.py, rows.py, gates.py, masks.py, windows_and_sinks.py.
- What they stand on: onednn.py, threads.py.

Shape letters in every file: B batch, H heads, T queries = keys, D head size.
"""
