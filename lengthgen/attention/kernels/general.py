"""Attention whose scores are a scheme's own function of queries, keys and text: the slow path.

If the scheme can work by rows, chunks of query rows go against the keys before them, and no tensor
has a number for each pair of the window. In training a chunk's scores are computed again on the way
back (row_blocks.py), so that what lives at once is one chunk. Else the scores of the whole window
exist at once: (B, H, T, T) and whatever the scheme makes of them.

Shape letters beside those of __init__.py: R rows of queries, S keys.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import row_blocks
from lengthgen.attention.kernels.windows_and_sinks import hide

# Elements of one chunk's scores: 8 MiB in float32, on a GPU 512 MiB. A scheme holds several.
SCORES_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}
# With gradients it holds some twenty: measured on CPU; on a GPU, 64 MiB in float32.
TRAINED_AT_ONCE = {"cpu": 2**21, "cuda": 2**24}

# Queries (B, H, R, D), keys (B, H, S, D), first row -> scores (B, H, R, S).
LogitsOf = Callable[[Tensor, Tensor, int], Tensor]
# Masked scores (B, H, R, S), values (B, H, S, D), first row -> (B, H, R, D).
MixOf = Callable[[Tensor, Tensor, int], Tensor]


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    logits: LogitsOf,
    mix: MixOf,
    span: Span | None = None,
    by_rows: bool = True,
    learned: Sequence[Tensor] | None = None,
) -> Tensor:
    """q, k, v (B, H, T, D), any floating dtype -> (B, H, T, D) in q's dtype, computed in float32 at
    least.

    learned: whatever else `logits` and `mix` are made of and a gradient may be wanted for (text,
    parameters); None: unknown, and with gradients the whole window is computed at once.
    """
    dtype, length = q.dtype, q.shape[2]
    wide = torch.promote_types(dtype, torch.float32)

    def rows(q: Tensor, k: Tensor, v: Tensor, first: int) -> Tensor:
        scores = logits(q, k, first)
        if span is None:
            return mix(row_blocks.future_hidden(scores, first), v, first)
        return mix(hide(scores, first, k.shape[2], span), v, first)

    with torch.autocast(q.device.type, enabled=False):
        q, k, v = (x.to(wide).contiguous() for x in (q, k, v))
        chunk = _chunk_of(q, TRAINED_AT_ONCE if torch.is_grad_enabled() else SCORES_AT_ONCE)
        if not by_rows or chunk == length:
            return rows(q, k, v, 0).to(dtype)
        if not torch.is_grad_enabled():
            return row_blocks.forward(q, k, v, rows, chunk).to(dtype)
        # torch.compile cannot trace a backward pass that differentiates by itself.
        if learned is None or torch.compiler.is_compiling():
            return rows(q, k, v, 0).to(dtype)
        return row_blocks.attend(q, k, v, rows, chunk, learned).to(dtype)


def _chunk_of(q: Tensor, elements: dict[str, int]) -> int:
    batch, n_heads, length, _ = q.shape
    at_once = elements.get(q.device.type, elements["cpu"])
    return max(1, min(length, at_once // (batch * n_heads * length)))
