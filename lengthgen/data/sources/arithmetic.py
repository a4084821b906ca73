"""Addition of two numbers of n digits each: `4 0 7 + 6 1 5 = 1 0 2 2 .`

Leading zeros make n digits of each term and n + 1 of the sum, so that its length says nothing. The
most significant digit comes first, as numbers are written, or the least: each digit then needs only
what came before it and one carry. Transformers learn that far better (Lee et al. 2023, arXiv
2307.03381; Zhou et al. 2024, arXiv 2402.09371: past the training length much depends on the seed).

Symbols: digits 0 .. base - 1, then the plus sign. Shape letter: n digits of a term, the size.
"""

from dataclasses import dataclass

import numpy as np

from lengthgen.data.sources.draws import Draws
from lengthgen.data.sources.tasks import WholeAnswers


@dataclass(frozen=True)
class Addition(WholeAnswers):
    base: int = 10
    least_first: bool = False  # of both terms and the sum

    @property
    def n_content(self) -> int:
        return self.base + 1  # digits and the plus sign

    def length(self, size: int) -> int:
        return 3 * size + 4

    def example(self, draws: Draws, size: int) -> tuple[np.ndarray, np.ndarray]:
        # all three numbers have their least significant digit first until they are returned
        first, second = draws.integers(self.base, 2 * size).reshape(2, size)
        total = added(first, second, self.base)
        step = 1 if self.least_first else -1
        prompt = np.concatenate((first[::step], [self.base], second[::step]))
        return prompt, total[::step].copy()


def added(first: np.ndarray, second: np.ndarray, base: int) -> np.ndarray:
    """Two numbers of n digits, the least first -> the n + 1 digits of their sum."""
    digits, carry = [], 0
    for pair in (first + second).tolist():
        carry, digit = divmod(pair + carry, base)
        digits.append(digit)
    return np.array([*digits, carry], dtype=np.int64)
