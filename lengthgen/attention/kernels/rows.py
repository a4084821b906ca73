"""A bias that depends on the query's position as well as on the offset (FIRE), one block of query rows at a time.

`Blocks` holds every block of a window, (H, rows, last) each, as the scheme's own autograd made them: half of T x T per head, nothing per
sequence, evaluated once and shared by every layer that shares the bias; it is needed when the bias learns.
`LazyBlocks` asks the scheme for a block whenever it is needed and keeps none: for evaluation and for biases that do not learn.

Shape letters: H heads, T queries = keys.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import threads, windows_and_sinks

AT_ONCE = (
    2**21
)  # elements of a block that is evaluated and thrown away, 8 MiB; more where 16 rows need more

BlockOf = Callable[[int, int], Tensor]


def spans(length: int, chunk: int) -> list[tuple[int, int]]:
    """(first, last) of every chunk of query rows; the last may be short."""
    return [(first, min(first + chunk, length)) for first in range(0, length, chunk)]


def chunk_of(n_heads: int, length: int, longest: int) -> int:
    """Query rows per lazy block: a multiple of 16, at most `longest`, that keeps the block small."""
    return max(16, min(longest, AT_ONCE // (n_heads * length)) // 16 * 16)


def masked(block: Tensor, first: int, last: int) -> Tensor:
    """A block (H, last - first, last), at least float32, with -inf where the key is later than the query."""
    return wide(block).masked_fill(
        ~windows_and_sinks.seen(first, last, None, block.device), float("-inf")
    )


def wide(block: Tensor) -> Tensor:
    """In float32 at least."""
    return block.to(torch.promote_types(block.dtype, torch.float32))


def evaluated(block_of: BlockOf, length: int, chunk: int) -> list[Tensor] | None:
    """Every masked block of a window, in the graph of autograd; None if they do not require a gradient."""
    blocks = []
    for first, last in spans(length, chunk):
        blocks.append(masked(block_of(first, last), first, last))
        if not blocks[0].requires_grad:
            return None
    return blocks


class LazyBlocks:
    """Blocks of a bias that does not learn, asked for when needed."""

    reversed_keys = False
    learned = ()

    def __init__(self, block_of: BlockOf, chunk: int, span: Span | None = None):
        self.block_of, self.chunk, self.span = block_of, chunk, span

    def parts(self, batch: int, n_heads: int) -> list[threads.Part]:
        """One: a block comes with all its heads."""
        return [(slice(None), slice(None))]

    def mask(self, sequences: slice, heads: slice, first: int, last: int) -> Tensor:
        """Queries first..last-1 against the keys that they see: (1, heads, last - first, keys)."""
        with torch.no_grad():
            return _cut(self.block_of(first, last), first, last, self.span)[None, heads]


class Blocks:
    """Blocks of a bias that learns; a chunk of queries must lie within one block."""

    reversed_keys = False
    parts = staticmethod(threads.pieces)  # masks are views

    def __init__(self, blocks: Sequence[Tensor], chunk: int, span: Span | None = None):
        self.learned = tuple(blocks)
        self.chunk, self.span = chunk, span

    def mask(self, sequences: slice, heads: slice, first: int, last: int) -> Tensor:
        """Queries first..last-1 against the keys that they see: (1, heads, last - first, keys), a view unless there is a span."""
        block = _within(self.learned, self.chunk, first, last).detach()[heads]
        return (block if self.span is None else _cut(block, first, last, self.span))[None]

    def gradient(self) -> "BlockGradient":
        """A zero to which the score gradients of every chunk are added."""
        return BlockGradient(self.learned, self.chunk, self.span)


class BlockGradient:
    """Collects score gradients at their own place. Each head is written by one thread."""

    def __init__(self, blocks: Sequence[Tensor], chunk: int, span: Span | None):
        self.sums = tuple(torch.zeros_like(block) for block in blocks)
        self.chunk, self.span = chunk, span

    def add(self, heads: slice, first: int, last: int, scores: Tensor) -> None:
        """scores (B, heads, last - first, keys): gradient of the biased scores, keys as `Blocks.mask` has them."""
        columns = windows_and_sinks.slices(first, last, self.span, last, newest_first=False)
        windows_and_sinks.add(
            _within(self.sums, self.chunk, first, last)[heads], columns, scores.sum(0), dim=2
        )

    def result(self) -> tuple[Tensor, ...]:
        """The gradient of every block."""
        return self.sums


def _cut(block: Tensor, first: int, last: int, span: Span | None) -> Tensor:
    """A block (H, last - first, last) -> the columns that its rows see, -inf where a row does not."""
    columns = windows_and_sinks.slices(first, last, span, last, newest_first=False)
    seen = windows_and_sinks.take(
        windows_and_sinks.seen(first, last, span, block.device), columns, dim=1
    )
    return windows_and_sinks.take(wide(block), columns, dim=2).masked_fill(~seen, float("-inf"))


def _within(blocks: Sequence[Tensor], chunk: int, first: int, last: int) -> Tensor:
    start = first % chunk
    return blocks[first // chunk][:, start : start + last - first, :last]
