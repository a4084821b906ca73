"""A bias that is the difference of two running sums, c_i - c_j, or w_i (c_i - c_j) (FoX, CABLE), one chunk of query rows at a time.

Where a sum has run far, float32 is coarse: at c = -10,000 it knows 0.001. So the sums stay in float64 and only differences become float32:
within a chunk each one by itself, and for older keys (c_i - r) - (c_j - r), r the least sum among them. The key with that sum has the
greatest weight of them all and gets no error; the others' is small against what their weight lacks.
In the softmax a row's own sum cancels. So where sums rise, the least one so far stands in for c_i, which keeps the scores small, and only
-c_j has a gradient: minus the column sums of the gradient of the scores.

Masks are made anew for each chunk, by sequence and head. Measured against no bias (float32, one thread, B8 H8 T512 D32, B4 H8 T1024 D64):
forward 1.2 to 1.4 times the time, forward and backward 1.3 to 1.4; the dense form 6 to 9.

Shape letters: B batch, H heads, T queries = keys.
"""

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Gates, Span
from lengthgen.attention.kernels import threads, windows_and_sinks

AT_ONCE = (
    2**21
)  # elements of the mask of one chunk and group of heads, 8 MiB; more where 16 rows need more


def chunk_of(batch: int, length: int, longest: int) -> int:
    """Query rows per chunk: a multiple of 16, at most `longest`, that keeps the mask of a group of heads small."""
    return max(16, min(longest, AT_ONCE // (max(4, batch) * length)) // 16 * 16)


class GateRows:
    """The mask of a chunk of query rows, from running sums (B, H, T); gradients are collected by `GateGradient`."""

    reversed_keys = False
    parts = staticmethod(
        threads.head_groups
    )  # masks are made: the smaller the better they stay in the caches

    def __init__(
        self, gates: Gates, chunk: int, span: Span | None = None, dtype: torch.dtype = torch.float32
    ):
        """dtype: of the masks."""
        tensors = [
            x
            for x in (gates.cumulative, gates.weights)
            if x is not None and x.requires_grad and torch.is_grad_enabled()
        ]
        self.learned, self.gates = tuple(tensors), gates
        self.chunk, self.span, self.dtype = chunk, span, dtype
        self.sums = gates.cumulative.detach().double()
        self.rows = (
            self.sums.cummin(-1).values if span is None else self.sums
        )  # a window may hide the least one
        self.weights = None if gates.weights is None else gates.weights.detach().to(dtype)

    def mask(self, sequences: slice, heads: slice, first: int, last: int) -> Tensor:
        """Queries first..last-1 against the keys that they see: (sequences, heads, last - first, keys)."""
        columns = windows_and_sinks.slices(first, last, self.span, last, newest_first=False)
        rows, keys = (
            self.rows[sequences, heads, first:last],
            windows_and_sinks.take(self.sums[sequences, heads], columns, dim=2),
        )
        n_older = keys.shape[2] - (
            last - first
        )  # the chunk's own keys come last, whatever the span
        mask = torch.empty(*rows.shape, keys.shape[2], dtype=self.dtype)
        mask[..., n_older:] = rows[..., :, None] - keys[..., None, n_older:]
        if n_older:
            older = keys[..., :n_older]
            least = older.amin(-1, keepdim=True)
            torch.sub(
                (rows - least).to(self.dtype)[..., None],
                (older - least).to(self.dtype)[..., None, :],
                out=mask[..., :n_older],
            )
        if self.weights is not None:
            mask *= self.weights[sequences, heads, first:last, None]
        return self._cut(mask, columns, first, last)

    def _cut(self, mask: Tensor, columns: list[slice], first: int, last: int) -> Tensor:
        """-inf where a row does not see a key: without a span only among the chunk's own."""
        if self.span is None:
            own = windows_and_sinks.seen(0, last - first, None, mask.device)
            mask[..., first:].masked_fill_(~own, float("-inf"))
            return mask
        seen = windows_and_sinks.take(
            windows_and_sinks.seen(first, last, self.span, mask.device), columns, dim=1
        )
        return mask.masked_fill_(~seen, float("-inf"))

    def gradient(self) -> "GateGradient":
        """Zeros to which the score gradients of every chunk are added."""
        return GateGradient(self)


class GateGradient:
    """Column sums of score gradients and, if queries have weights, row sums against the differences. Each head is written by one thread."""

    def __init__(self, bias: GateRows):
        self.bias = bias
        self.sums = torch.zeros_like(bias.sums)
        self.weights = None if bias.weights is None else torch.zeros_like(bias.weights)

    def add(self, heads: slice, first: int, last: int, scores: Tensor) -> None:
        """scores (B, heads, last - first, keys): gradient of the biased scores, keys as `GateRows.mask` has them."""
        columns = windows_and_sinks.slices(first, last, self.bias.span, last, newest_first=False)
        if self.weights is None:
            windows_and_sinks.add(self.sums[:, heads], columns, -scores.sum(2), dim=2)
            return
        weights, keys = (
            self.bias.weights[:, heads, None, first:last],
            windows_and_sinks.take(self.bias.sums[:, heads], columns, dim=2),
        )
        windows_and_sinks.add(self.sums[:, heads], columns, -(weights @ scores)[:, :, 0], dim=2)
        near = (keys[..., -1:] - keys).to(
            scores.dtype
        )  # any constant would do: a row's gradients sum to zero
        self.weights[:, heads, first:last] = (scores @ near[..., None])[..., 0]

    def result(self) -> tuple[Tensor, ...]:
        """The gradients of the running sums and of the weights, (B, H, T) each: of those that learn."""
        gates = self.bias.gates
        pairs = ((gates.cumulative, self.sums), (gates.weights, self.weights))
        return tuple(
            gradient.to(x.dtype) for x, gradient in pairs if x is not None and x.requires_grad
        )
