"""Attention of a whole window whose scores are one of two products, by how far back the key is.

Chunks of query rows against the keys that they see, each product only where some row needs it: the
work of one matrix of scores, and of a window's alone under a window, where `logits` takes two of
the whole. Without gradients.
Shape letters beside those of __init__.py: K heads of keys, C query rows of a chunk, S keys of it.
"""

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import general
from lengthgen.attention.kernels.one_query import for_each_head
from lengthgen.attention.kernels.rows import spans
from lengthgen.attention.kernels.windows_and_sinks import hide, key_slices, most_keys, take
from lengthgen.attention.two_distances import TwoDistances

ROWS = 128  # of a chunk on a CPU


def attend(pairs: TwoDistances, v: Tensor, span: Span | None) -> Tensor:
    """Tokens 0..T-1 in `pairs`, v (B, K, T, Dv) in their dtype -> (B, H, T, Dv)."""
    q = pairs.near[0]
    B, n_heads, T, _ = q.shape
    if B > 1 and q.device.type == "cpu":  # one text at a time: chunks of all would be short
        texts = [slice(b, b + 1) for b in range(B)]
        return torch.cat([attend(pairs.of(text), v[text], span) for text in texts])
    keys = [for_each_head(k, n_heads) for _, k in (pairs.near, pairs.far)]
    v = for_each_head(v, n_heads)
    out = v.new_empty(B, n_heads, T, v.shape[-1])
    at_once = general.SCORES_AT_ONCE.get(q.device.type, general.SCORES_AT_ONCE["cpu"])
    # Longer chunks would see few keys that all of their rows see.
    longest = ROWS if q.device.type == "cpu" else T
    chunk = max(1, min(T, longest, at_once // (B * n_heads * most_keys(span, 1, T))))
    for first, last in spans(T, chunk):
        columns = key_slices(first, last, span, last, newest_first=False)
        scores = _scores(pairs, [take(k, columns, dim=2) for k in keys], first, last, columns)
        weights = hide(scores, first, last, span, columns).softmax(-1)
        out[:, :, first:last] = weights @ take(v, columns, dim=2)
    return out


def _scores(
    pairs: TwoDistances, keys: list[Tensor], first: int, last: int, columns: list[slice]
) -> Tensor:
    """(B, H, C, S) of queries first..last-1 and the near and far keys (B, H, S, D) of `columns`."""
    near_keys, far_keys = keys
    near_queries, far_queries = (q[:, :, first:last] for q, _ in (pairs.near, pairs.far))
    # Columns before `near` are far to every row, those from `far` on to none.
    near = _before(first - pairs.window + 1, columns) if first >= pairs.far_from else 0
    far = _before(last - pairs.window, columns) if last > pairs.far_from else 0
    scores = near_queries @ near_keys[:, :, near:].mT
    if not far:
        return scores
    other = far_queries @ far_keys[:, :, :far].mT
    i = torch.arange(first, last, device=scores.device)[:, None]
    j = torch.cat([torch.arange(s.start, s.stop, device=scores.device) for s in columns])
    is_far = (i - j[near:far] >= pairs.window) & (i >= pairs.far_from)
    both = torch.where(is_far, other[..., near:], scores[..., : far - near])
    return torch.cat((other[..., :near], both, scores[..., far - near :]), -1)


def _before(token: int, columns: list[slice]) -> int:
    """How many of the columns hold keys before `token`."""
    return sum(min(max(token - s.start, 0), s.stop - s.start) for s in columns)
