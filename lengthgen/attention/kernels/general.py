"""Attention whose scores are a scheme's own function of queries, keys and text: the slow path.

With gradients the scores of the whole window exist at once: (B, H, T, T) and whatever the scheme
makes of them. Without, chunks of query rows against the keys before them take memory linear in T,
if the scheme can work by rows.

Shape letters beside those of __init__.py: R rows of queries, S keys.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels.rows import spans
from lengthgen.attention.kernels.windows_and_sinks import hide

# Elements of one chunk's scores: 8 MiB in float32, on a GPU 512 MiB. A scheme holds several.
SCORES_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}

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
) -> Tensor:
    """q, k, v (B, H, T, D), any floating dtype -> (B, H, T, D) in q's dtype, computed in float32 at
    least."""
    dtype, length = q.dtype, q.shape[2]
    wide = torch.promote_types(dtype, torch.float32)

    def rows(first: int, last: int) -> Tensor:
        scores = logits(q[:, :, first:last], k[:, :, :last], first)
        return mix(hide(scores, first, last, span), v[:, :, :last], first)

    with torch.autocast(q.device.type, enabled=False):
        q, k, v = (x.to(wide) for x in (q, k, v))
        if torch.is_grad_enabled() or not by_rows:
            return rows(0, length).to(dtype)
        # Made before the large temporaries: small parts among them would fragment the heap.
        out = v.new_empty(v.shape)
        for first, last in spans(length, _chunk_of(q)):
            out[:, :, first:last] = rows(first, last)
    return out.to(dtype)


def _chunk_of(q: Tensor) -> int:
    batch, n_heads, length, _ = q.shape
    at_once = SCORES_AT_ONCE.get(q.device.type, SCORES_AT_ONCE["cpu"])
    return max(1, min(length, at_once // (batch * n_heads * length)))
