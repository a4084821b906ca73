"""A bias that depends on the query's position as well as on the offset (FIRE), by blocks of rows.

`Blocks` holds every block of a window, (H, rows, last) each, as the scheme's autograd made them:
half of T x T a head, nothing a sequence, evaluated once and shared by every layer that shares the
bias. It serves biases that learn. `LazyBlocks` asks the scheme for a block whenever it is needed
and keeps none: for evaluation, and for biases that do not learn.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import threads
from lengthgen.attention.kernels.windows_and_sinks import add_at, hide, key_slices, take

# Elements of a block that is made when needed: 8 MiB in float32, more where 16 rows need more.
AT_ONCE = 2**21

BlockOf = Callable[[int, int], Tensor]


def spans(length: int, chunk: int) -> list[tuple[int, int]]:
    """(first, last) of every chunk of query rows; the last may be short."""
    return [(first, min(first + chunk, length)) for first in range(0, length, chunk)]


def chunks(
    q: Tensor, k: Tensor, v: Tensor, bias: Any, part: threads.Part, backwards: bool = False
) -> Iterator[tuple[slice, list[slice], Tensor, Tensor, Tensor]]:
    """For each chunk of query rows: these, where the keys are that they see, k, v, and the mask.

    q, k, v (B, H, T, D) of one part, keys in the bias's order; bias: a cpu.ChunkedBias.
    """
    batch, n_heads, length, _ = q.shape
    all_rows = spans(length, bias.chunk)
    for first, last in reversed(all_rows) if backwards else all_rows:
        keys = key_slices(first, last, bias.span, length, bias.reversed_keys)
        some_k, some_v = (take(x, keys, dim=2) for x in (k, v))
        mask = bias.mask(*part, first, last).expand(batch, n_heads, -1, -1)
        yield slice(first, last), keys, some_k, some_v, mask


def chunk_of(n_matrices: int, length: int, longest: int, at_once: int | None = None) -> int:
    """Query rows per chunk: a multiple of 16, at most `longest`.

    It keeps `n_matrices` blocks (rows, length) to `at_once` elements, by default AT_ONCE.
    """
    return max(16, min(longest, (at_once or AT_ONCE) // (n_matrices * length)) // 16 * 16)


def masked(block: Tensor, first: int, last: int) -> Tensor:
    """A block (H, last - first, last), in float32 at least, with -inf in the future."""
    return hide(wide(block), first, last, None)


def wide(block: Tensor) -> Tensor:
    """In float32 at least."""
    return block.to(torch.promote_types(block.dtype, torch.float32))


def evaluated(block_of: BlockOf, length: int, chunk: int) -> list[Tensor] | None:
    """Every masked block of a window, in autograd's graph; None if they need no gradient."""
    blocks = []
    for first, last in spans(length, chunk):
        blocks.append(masked(block_of(first, last), first, last))
        if not blocks[0].requires_grad:
            return None
    return blocks


class LazyBlocks:
    """Blocks of a bias that does not learn, asked for when needed."""

    reversed_keys = False
    learned: tuple[Tensor, ...] = ()

    def __init__(self, block_of: BlockOf, chunk: int, span: Span | None = None):
        self.block_of, self.chunk, self.span = block_of, chunk, span

    def parts(self, batch: int, n_heads: int) -> list[threads.Part]:
        """One: a block comes with all its heads."""
        return [(slice(None), slice(None))]

    def mask(self, sequences: slice, heads: slice, first: int, last: int) -> Tensor:
        """As cpu.ChunkedBias says."""
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
        """As cpu.ChunkedBias says: a view unless there is a span."""
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
        """scores (B, heads, last - first, keys): their gradient, keys as in `mask`."""
        columns = key_slices(first, last, self.span, last, newest_first=False)
        block = _within(self.sums, self.chunk, first, last)[heads]
        add_at(block, columns, scores.sum(0), dim=2)

    def result(self) -> tuple[Tensor, ...]:
        """The gradient of every block."""
        return self.sums


def _cut(block: Tensor, first: int, last: int, span: Span | None) -> Tensor:
    """(H, last - first, last) -> the columns that rows see, -inf where one does not."""
    columns = key_slices(first, last, span, last, newest_first=False)
    return hide(take(wide(block), columns, dim=2), first, last, span, columns)


def _within(blocks: Sequence[Tensor], chunk: int, first: int, last: int) -> Tensor:
    start = first % chunk
    return blocks[first // chunk][:, start : start + last - first, :last]
