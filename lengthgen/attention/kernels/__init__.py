"""Exact causal self-attention, one file an idea. dispatch.py chooses; none knows schemes or models.

Shape letters in every file: B batch, H heads, T queries = keys, D head size.

| file | idea |
|---|---|
| reference.py | the definition, written out: every other kernel is tested against it in float64 |
| sdpa.py | torch's scaled_dot_product_attention with a mask: any device, dtype, dropout |
| masks.py | the mask of a chunk of rows, aligned as CUDA wants it |
| cpu.py | query chunks through torch's CPU flash kernels: no tensor of length x length |
| recompute.py | backward of cpu.py when the bias itself is learned |
| tiles.py | forward of cpu.py by large products, in the evaluation of long windows |
| offsets.py | a bias of the offset alone, as a strided view of one padded vector |
| rows.py | a bias of the query's position as well, row block by row block |
| gates.py | a bias that is the difference of two running sums that the text decides |
| windows_and_sinks.py | which keys a query sees, and where a chunk of query rows finds them |
| flex.py | CUDA: torch's FlexAttention, compiled once per length, with a constant bias |
| bias_tap.py | that bias's gradient, computed beside it |
| triton_bias.py, torch_bias.py | how: a Triton kernel; chunks in plain torch |
| general.py | scores that are a scheme's own function of queries, keys and text |
| onednn.py | products with weights and tiles by oneDNN |
| threads.py | heads spread over threads |"""
