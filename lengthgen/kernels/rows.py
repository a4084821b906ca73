"""A bias that depends on the query's position as well as on the offset (FIRE), one block of query rows at a time.

`Blocks` holds every block of a window, (H, rows, last) each, as the scheme's own autograd made them: half of T x T per head, nothing per
sequence, evaluated once and shared by every layer that shares the bias; it is needed when the bias learns.
`LazyBlocks` asks the scheme for a block whenever it is needed and keeps none: for evaluation and for biases that do not learn.

Shape letters: H heads, T queries = keys.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

BlockOf = Callable[[int, int], Tensor]


def spans(length: int, chunk: int) -> list[tuple[int, int]]:
    """(first, last) of every chunk of query rows; the last may be short."""
    return [(first, min(first + chunk, length)) for first in range(0, length, chunk)]


def masked(block: Tensor, first: int, last: int) -> Tensor:
    """A block (H, last - first, last), float32, with -inf where the key is later than the query."""
    future = torch.ones(last - first, last, dtype=torch.bool, device=block.device).triu(first + 1)
    return block.float().masked_fill(future, float("-inf"))


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
    cheap = False
    learned = ()

    def __init__(self, block_of: BlockOf):
        self.block_of = block_of

    def mask(self, first: int, last: int) -> Tensor:
        """Queries first..last-1 against keys 0..last-1: (H, last - first, last)."""
        with torch.no_grad():
            return masked(self.block_of(first, last), first, last)


class Blocks:
    """Blocks of a bias that learns; a chunk of queries must lie within one block."""

    reversed_keys = False
    cheap = True

    def __init__(self, blocks: Sequence[Tensor], chunk: int):
        self.learned = tuple(blocks)
        self.chunk = chunk

    def mask(self, first: int, last: int) -> Tensor:
        """Queries first..last-1 against keys 0..last-1: a view (H, last - first, last)."""
        return _within(self.learned, self.chunk, first, last).detach()

    def gradient(self) -> "BlockGradient":
        """A zero to which the score gradients of every chunk are added."""
        return BlockGradient(self.learned, self.chunk)


class BlockGradient:
    """Collects score gradients at their own place. Each head is written by one thread."""

    def __init__(self, blocks: Sequence[Tensor], chunk: int):
        self.sums = tuple(torch.zeros_like(block) for block in blocks)
        self.chunk = chunk

    def add(self, heads: slice, first: int, last: int, scores: Tensor) -> None:
        """scores (heads, last - first, last): gradient of the biased scores, summed over the batch."""
        _within(self.sums, self.chunk, first, last)[heads] += scores

    def result(self) -> tuple[Tensor, ...]:
        """The gradient of every block."""
        return self.sums


def _within(blocks: Sequence[Tensor], chunk: int, first: int, last: int) -> Tensor:
    start = first % chunk
    return blocks[first // chunk][:, start : start + last - first, :last]
