"""A bias that depends on the offset alone, without ever being a matrix: one padded vector per head, seen through strides.

With the keys in reversed order (newest first), query i = first + r and reversed key s (key last - 1 - s) are r + s - (rows - 1) apart, so
the bias of a chunk of query rows is a Hankel matrix: entry (r, s) = padded[r + s + constant]. Such a matrix is a view of the vector with
both strides 1. Torch's CPU flash kernels read masks through strides, so the mask of every chunk costs no memory, no build, and stays
in the first-level cache. Entries with a negative offset (the future) read the -inf in front of the vector.

Measured (float32, one thread, B8 H8 T512 D32, forward and backward): 0.64 to 0.72 of torch's bias-free is_causal; a prebuilt [H, chunk, T]
slab costs the same at 512 and 1.1 to 1.4 times as much at 4096.

Shape letters: H heads (1 = the same for every head), T queries = keys.
"""

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import threads, windows_and_sinks


def dense(vector: Tensor) -> Tensor:
    """vector (H, T) by offset -> (H, T, T) with entry (i, j) = vector[:, i - j], -inf above the diagonal. Differentiable.

    A copy of T shifted rows (pad to 2 T, read with row stride 2 T - 1), not a gather: its backward is a plain, deterministic sum.
    """
    n_heads, length = vector.shape
    padded = torch.cat([vector.flip(1), vector.new_full((n_heads, length), float("-inf"))], dim=1)
    rows = padded[:, None, :].expand(n_heads, length, 2 * length).reshape(n_heads, -1)
    skewed = rows[:, length - 1 : length - 1 + length * (2 * length - 1)]
    return skewed.reshape(n_heads, length, 2 * length - 1)[:, :, :length]


class Offsets:
    """The mask of a chunk of query rows, from a vector (H, T) by offset; its gradient is collected by `OffsetGradient`."""

    reversed_keys = True
    parts = staticmethod(threads.pieces)  # masks are views

    def __init__(self, vector: Tensor, chunk: int, span: Span | None = None):
        self.learned = (vector,) if vector.requires_grad and torch.is_grad_enabled() else ()
        self.chunk, self.span = chunk, span
        values = vector.detach().to(torch.promote_types(vector.dtype, torch.float32))
        future = values.new_full((values.shape[0], chunk - 1), float("-inf"))
        self.padded = torch.cat([future, values], dim=1)  # (H, chunk - 1 + T)
        self.near = (
            self.padded if span is None else self.padded[:, : 2 * chunk + span.window].clone()
        )  # what a chunk may read of it
        if span is not None:
            self.near[:, chunk - 1 + span.window :] = float("-inf")

    def mask(self, sequences: slice, heads: slice, first: int, last: int) -> Tensor:
        """Queries first..last-1 against the keys that they see, last - first <= chunk: (1, heads or 1, last - first, keys).

        A view, or with sinks a small copy.
        """
        columns = windows_and_sinks.slices(first, last, self.span, last, newest_first=True)
        only_sinks = self.span is not None and last <= self.span.sinks
        sources = (
            (self.padded,) if only_sinks else (self.near, self.padded)
        )  # the window's end does not cut the sinks
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
    """Sums score gradients over equal offsets. Each head is written by one thread, so the order of every sum is fixed."""

    def __init__(self, padded: Tensor, chunk: int, span: Span | None = None):
        self.chunk, self.width, self.span = chunk, padded.shape[1], span
        self.sums = padded.new_zeros(
            padded.shape[0], chunk, self.width + 1
        )  # row r, column s: row stride one more than `width`

    def add(self, heads: slice, first: int, last: int, scores: Tensor) -> None:
        """scores (B, heads, last - first, keys): gradient of the biased scores, keys as `Offsets.mask` has them."""
        columns = windows_and_sinks.slices(first, last, self.span, last, newest_first=True)
        windows_and_sinks.add(
            self.sums[heads, self.chunk - (last - first) :], columns, scores.sum(0), dim=2
        )

    def result(self) -> tuple[Tensor]:
        """The gradient of the vector, (H, T). Reading the same memory with row stride `width` puts equal offsets into one column."""
        aligned = self.sums.flatten(1)[:, : self.chunk * self.width].view(
            -1, self.chunk, self.width
        )
        return (aligned.sum(1)[:, self.chunk - 1 :],)
