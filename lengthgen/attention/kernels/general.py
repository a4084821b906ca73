"""Attention whose scores are a scheme's own function of queries, keys and text: the path without a faster one.

With gradients the scores of the whole window exist at once, (B, H, T, T) and whatever the scheme makes of them. Without, chunks of query
rows against the keys before them, in memory linear in T, where the scheme can work by rows.

Shape letters: B batch, H heads, T queries = keys, R rows of queries, S keys, D head size.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import windows_and_sinks
from lengthgen.attention.kernels.rows import spans

SCORES_AT_ONCE = (
    2**21
)  # elements of one chunk's scores: 8 MiB in float32; a scheme holds several such tensors

LogitsOf = Callable[
    [Tensor, Tensor, int], Tensor
]  # queries (B, H, R, D), keys (B, H, S, D), first row -> scores (B, H, R, S)
MixOf = Callable[
    [Tensor, Tensor, int], Tensor
]  # masked scores (B, H, R, S), values (B, H, S, D), first row -> (B, H, R, D)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    logits: LogitsOf,
    mix: MixOf,
    span: Span | None = None,
    by_rows: bool = True,
) -> Tensor:
    """q, k, v (B, H, T, D), any floating dtype -> (B, H, T, D) in q's dtype. Scores are computed in float32 or q's wider dtype."""
    dtype, length = q.dtype, q.shape[2]
    wide = torch.promote_types(dtype, torch.float32)

    def rows(first: int, last: int) -> Tensor:
        scores = logits(q[:, :, first:last], k[:, :, :last], first)
        return mix(
            scores.masked_fill(~windows_and_sinks.seen(first, last, span, q.device), float("-inf")),
            v[:, :, :last],
            first,
        )

    with torch.autocast(q.device.type, enabled=False):
        q, k, v = (x.to(wide) for x in (q, k, v))
        if torch.is_grad_enabled() or not by_rows:
            return rows(0, length).to(dtype)
        out = v.new_empty(
            v.shape
        )  # made before the large temporaries: small parts between them would pin holes in the heap
        for first, last in spans(length, _chunk_of(q)):
            out[:, :, first:last] = rows(first, last)
    return out.to(dtype)


def _chunk_of(q: Tensor) -> int:
    batch, n_heads, length, _ = q.shape
    return max(1, min(length, SCORES_AT_ONCE // (batch * n_heads * length)))
