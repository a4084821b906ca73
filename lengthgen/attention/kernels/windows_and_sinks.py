"""Which keys a query sees: none of the future and, under a span, only the last ones and the sinks.

A chunk of query rows then needs two ranges of keys at most: the sinks, and the rest from the first
row's oldest visible key on. The two never overlap, so that a sink which the window still holds
counts once.
"""

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span


def narrowed(span: Span | None, length: int) -> Span | None:
    """The span, or None if it hides nothing from the last query of `length` tokens."""
    if span is None or span.window is None or span.window + span.sinks >= length:
        return None
    return span


def visible(first: int, last: int, span: Span | None, device: torch.device) -> Tensor:
    """Which of the keys 0..last-1 the queries first..last-1 see: (last - first, last) bool."""
    i, j = torch.arange(first, last, device=device)[:, None], torch.arange(last, device=device)
    if span is None or span.window is None:
        return j <= i
    return (j <= i) & ((i - j < span.window) | (j < span.sinks))


def hide(
    x: Tensor, first: int, last: int, span: Span | None, columns: list[slice] | None = None
) -> Tensor:
    """x (..., last - first, keys), -inf where queries first..last-1 do not see a key.

    columns: the slices of the keys 0..last-1 that x holds; None: all.
    """
    seen = visible(first, last, span, x.device)
    if columns is not None:
        seen = take(seen, columns, dim=1)
    return x.masked_fill(~seen, float("-inf"))


def key_slices(
    first: int, last: int, span: Span | None, length: int, newest_first: bool
) -> list[slice]:
    """Where the keys that queries first..last-1 see stand among `length` keys, in their order.

    newest_first: key j stands at length - 1 - j. The slices do not overlap. With `length` = last
    they are the columns of a mask of those rows.
    """
    ranges = [(0, last)]
    if span is not None and span.window is not None:
        sinks = min(span.sinks, last)
        ranges = [(0, sinks), (max(sinks, first - span.window + 1), last)]
    ranges = [(start, stop) for start, stop in ranges if start < stop]
    if newest_first:
        return [slice(length - stop, length - start) for start, stop in reversed(ranges)]
    return [slice(start, stop) for start, stop in ranges]


def take(x: Tensor, where: list[slice], dim: int) -> Tensor:
    """x at these slices of axis `dim`: a view of a single one, else a copy."""
    parts = [x.narrow(dim, s.start, s.stop - s.start) for s in where]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def add_at(total: Tensor, where: list[slice], x: Tensor, dim: int) -> None:
    """Adds x, as `take` would return it, to `total`."""
    parts = [x] if len(where) == 1 else x.split([s.stop - s.start for s in where], dim)
    for s, part in zip(where, parts, strict=True):
        total.narrow(dim, s.start, s.stop - s.start).add_(part)


def most_keys(span: Span | None, rows: int, length: int) -> int:
    """The most keys that `rows` rows of a window of `length` tokens see."""
    if span is None or span.window is None:
        return length
    return min(length, rows - 1 + span.window + span.sinks)
