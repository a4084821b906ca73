"""A bias that is the difference of two running sums, c_i - c_j (FoX, CABLE), one chunk of query rows at a time.

Where a sum has run far, float32 is coarse: at c = -10,000 it knows 0.001. So the sums stay in float64 and only differences become float32:
within a chunk each one by itself, and for older keys (c_i - r) - (c_j - r), r the least sum among them. The key with that sum has the
greatest weight of them all and gets no error; the others' is small against what their weight lacks.
In the softmax a row's own sum cancels. So where sums rise, the least one so far stands in for c_i, which keeps the scores small, and only
-c_j has a gradient: minus the column sums of the gradient of the scores.

Masks are made anew for each chunk, by sequence and head. Measured against no bias (float32, one thread, B8 H8 T512 D32, B4 H8 T1024 D64):
forward 1.2 times the time, forward and backward 1.3 to 1.4; the dense form 8 to 9.

Shape letters: B batch, H heads, T queries = keys.
"""

import torch
from torch import Tensor

from lengthgen.kernels import threads, visibility
from lengthgen.structures import Span

AT_ONCE = 2**21  # elements of the mask of one chunk and group of heads, 8 MiB; more where 16 rows need more


def dense(cumulative: Tensor, first: int, last: int) -> Tensor:
    """Sums (B, H, T) -> (B, H, last - first, last), queries first..last-1 against keys 0..last-1, in their dtype. Differentiable."""
    return cumulative[..., first:last, None] - cumulative[..., None, :last]


def chunk_of(batch: int, length: int, longest: int) -> int:
    """Query rows per chunk: a multiple of 16, at most `longest`, that keeps the mask of a group of heads small."""
    return max(16, min(longest, AT_ONCE // (max(4, batch) * length)) // 16 * 16)


class GateRows:
    """The mask of a chunk of query rows, from running sums (B, H, T); their gradient is collected by `GateGradient`."""

    reversed_keys = False
    parts = staticmethod(threads.head_groups)  # masks are made: the smaller the better they stay in the caches

    def __init__(self, cumulative: Tensor, chunk: int, span: Span | None = None, dtype: torch.dtype = torch.float32):
        """dtype: of the masks."""
        self.learned = (cumulative,) if cumulative.requires_grad and torch.is_grad_enabled() else ()
        self.chunk, self.span = chunk, span
        self.sums, self.dtype = cumulative.detach().double(), dtype
        self.rows = self.sums.cummin(-1).values if span is None else self.sums  # a window may hide the least one

    def mask(self, sequences: slice, heads: slice, first: int, last: int) -> Tensor:
        """Queries first..last-1 against the keys that they see: (sequences, heads, last - first, keys)."""
        sums, columns = self.sums[sequences, heads], visibility.slices(first, last, self.span, last, newest_first=False)
        rows, keys = self.rows[sequences, heads, first:last], visibility.take(sums, columns, dim=2)
        older, own = keys.split([keys.shape[2] - (last - first), last - first], dim=2)  # the chunk's own come last, whatever the span
        n_older = older.shape[2]
        mask = torch.empty(*rows.shape, keys.shape[2], dtype=self.dtype)
        mask[..., n_older:] = rows[..., :, None] - own[..., None, :]
        if n_older:
            least = older.amin(-1, keepdim=True)
            torch.sub((rows - least).to(self.dtype)[..., None], (older - least).to(self.dtype)[..., None, :], out=mask[..., :n_older])
        if self.span is None:
            hidden = ~visibility.seen(0, last - first, None, sums.device)
            mask[..., n_older:].masked_fill_(hidden, float("-inf"))
        else:
            hidden = ~visibility.take(visibility.seen(first, last, self.span, sums.device), columns, dim=1)
            mask.masked_fill_(hidden, float("-inf"))
        return mask

    def gradient(self) -> "GateGradient":
        """A zero to which the score gradients of every chunk are added."""
        return GateGradient(self)


class GateGradient:
    """Column sums of score gradients. Each head is written by one thread."""

    def __init__(self, gates: GateRows):
        self.span, self.dtype = gates.span, gates.learned[0].dtype
        self.sums = torch.zeros_like(gates.sums)

    def add(self, heads: slice, first: int, last: int, scores: Tensor) -> None:
        """scores (B, heads, last - first, keys): gradient of the biased scores, keys as `GateRows.mask` has them."""
        columns = visibility.slices(first, last, self.span, last, newest_first=False)
        visibility.add(self.sums[:, heads], columns, -scores.sum(2), dim=2)

    def result(self) -> tuple[Tensor]:
        """The gradient of the running sums, (B, H, T)."""
        return (self.sums.to(self.dtype),)
