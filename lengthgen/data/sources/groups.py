"""Word problems of finite groups: the product of the n elements of the prompt. Pure state tracking.

- Parity is that of the group of two elements. It is in TC0, and still hard to learn.
- S5, the permutations of five things, is the smallest unsolvable symmetric group. Its word problem
  is complete for NC1 (Barrington 1989), so no Transformer of constant depth and logarithmic
  precision solves it at every length unless TC0 = NC1, whatever its positional scheme (Merrill and
  Sabharwal 2023, arXiv 2207.00729; Merrill, Petty and Sabharwal 2024, arXiv 2404.08819).

The answer is the product alone (`9 4 71 = 33 .`), which the theorem is about, or with `every_state`
the product after each element (a scratchpad): each needs the one before and one element.

An element g acts after the state s: the new state is table[g][s]. Shape letters: n elements of the
prompt, which is the size; M elements of the group.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from lengthgen.data.sources.draws import Draws
from lengthgen.data.sources.tasks import WholeAnswers

Table = tuple[tuple[int, ...], ...]  # M rows of M: table[g][s] is g after s


@dataclass(frozen=True)
class WordProblem(WholeAnswers):
    table: Table
    every_state: bool = False

    @property
    def n_content(self) -> int:
        return len(self.table)

    def length(self, size: int) -> int:
        return size + (size if self.every_state else 1) + 2

    def example(self, draws: Draws, size: int) -> tuple[np.ndarray, np.ndarray]:
        prompt = draws.integers(len(self.table), size)
        products = itertools.accumulate(prompt.tolist(), lambda state, g: self.table[g][state])
        states = np.array(list(products))
        return prompt, states if self.every_state else states[-1:]


def cyclic(order: int) -> Table:
    """Addition of 0 .. order - 1 modulo order. Order 2: parity."""
    return tuple(tuple((g + state) % order for state in range(order)) for g in range(order))


def symmetric(degree: int) -> Table:
    """The degree! permutations of 0 .. degree - 1, numbered in lexicographic order.

    0 is the identity; g after s maps x to g[s[x]].
    """
    elements = list(itertools.permutations(range(degree)))
    number = {element: index for index, element in enumerate(elements)}
    return tuple(tuple(number[tuple(g[x] for x in s)] for s in elements) for g in elements)
