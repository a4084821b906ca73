"""A bias of the offset alone, never a matrix: one padded vector per head, seen through strides.

With the keys in reversed order (newest first), query i = first + r and reversed key s (key last - 1
- s) are r + s - (rows - 1) apart, so that the bias of a chunk of query rows is a Hankel matrix:
entry (r, s) = padded[r + s + constant]. Such a matrix is a view of the vector with both strides 1.
Torch's CPU flash kernels read masks through strides, so the mask of every chunk costs no memory and
no time to build, and stays in the first-level cache. Entries with a negative offset (the future)
read the -inf in front of the vector.

Measured (float32, one thread, B8 H8 T512 D32, forward and backward): 0.64 to 0.72 of torch's
is_causal without a bias. A prebuilt slab [H, chunk, T] costs the same at 512, and 1.1 to 1.4 times
as much at 4096.

Shape letters beside those of __init__.py: H heads (1 = the same for every head).
"""

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import threads
from lengthgen.attention.kernels.windows_and_sinks import add_at, key_slices


def dense(vector: Tensor) -> Tensor:
    """vector (H, T) -> (H, T, T): entry (i, j) is vector[:, i - j], or -inf. Differentiable.

    A copy of T shifted rows (pad to 2 T, read with row stride 2 T - 1), not a gather: its backward
    is a plain, deterministic sum.
    """
    n_heads, length = vector.shape
    padded = torch.cat([vector.flip(1), vector.new_full((n_heads, length), float("-inf"))], dim=1)
    rows = padded[:, None, :].expand(n_heads, length, 2 * length).reshape(n_heads, -1)
    skewed = rows[:, length - 1 : length - 1 + length * (2 * length - 1)]
    return skewed.reshape(n_heads, length, 2 * length - 1)[:, :, :length]


class Offsets:
    """The mask of a chunk of query rows, from a vector (H, T) by offset."""

    reversed_keys = True
    parts = staticmethod(threads.pieces)  # masks are views

    def __init__(self, vector: Tensor, chunk: int, span: Span | None = None):
        learns = vector.requires_grad and torch.is_grad_enabled()
        self.learned: tuple[Tensor, ...] = (vector,) if learns else ()
        self.chunk, self.span = chunk, span
        values = vector.detach().to(torch.promote_types(vector.dtype, torch.float32))
        # The first row of a chunk is up to chunk - 1 positions before the newest key.
        future = values.new_full((values.shape[0], chunk - 1), float("-inf"))
        self.padded = torch.cat([future, values], dim=1)  # (H, chunk - 1 + T)
        # What a chunk may read of it: under a span, nothing older than the window.
        self.near = self.padded
        if span is not None and span.window is not None:
            self.near = self.padded[:, : 2 * chunk + span.window].clone()
            self.near[:, chunk - 1 + span.window :] = float("-inf")

    def mask(self, sequences: slice, heads: slice, first: int, last: int) -> Tensor:
        """As cpu.ChunkedBias says: a view, or with sinks a small copy."""
        columns = key_slices(first, last, self.span, last, newest_first=True)
        only_sinks = self.span is not None and last <= self.span.sinks
        # The window's end does not cut the sinks, so they are read from the whole vector.
        sources = (self.padded,) if only_sinks else (self.near, self.padded)
        parts = [
            self._columns(source, last - first, s)
            for s, source in zip(columns, sources, strict=False)
        ]
        mask = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        return mask[None] if mask.shape[0] == 1 else mask[None, heads]

    def _columns(self, padded: Tensor, rows: int, columns: slice) -> Tensor:
        shape = (padded.shape[0], rows, columns.stop - columns.start)
        return padded.as_strided(shape, (padded.stride(0), 1, 1), self.chunk - rows + columns.start)

    def gradient(self) -> "OffsetGradient":
        """A zero to which the score gradients of every chunk are added."""
        return OffsetGradient(self.padded, self.chunk, self.span)


class OffsetGradient:
    """Sums score gradients over equal offsets.

    One thread writes a head, so that the order of every sum is fixed.
    """

    def __init__(self, padded: Tensor, chunk: int, span: Span | None = None):
        self.chunk, self.width, self.span = chunk, padded.shape[1], span
        # Row stride one more than `width`: read with stride `width`, equal offsets are one column.
        self.sums = padded.new_zeros(padded.shape[0], chunk, self.width + 1)

    def add(self, heads: slice, first: int, last: int, scores: Tensor) -> None:
        """scores (B, heads, last - first, keys): their gradient, keys as in `mask`."""
        columns = key_slices(first, last, self.span, last, newest_first=True)
        rows = self.sums[heads, self.chunk - (last - first) :]
        add_at(rows, columns, scores.sum(0), dim=2)

    def result(self) -> tuple[Tensor]:
        """The gradient of the vector, (H, T)."""
        sums = self.sums.flatten(1)[:, : self.chunk * self.width]
        return (sums.view(-1, self.chunk, self.width).sum(1)[:, self.chunk - 1 :],)
