"""Tasks on strings: repeat it, reverse it, sort it.

Sources: Kazemnejad et al. 2023 (arXiv 2305.19466: copy, reverse, sorting by length); Ruoss et al.
2023 (arXiv 2305.16843); Zhou et al. 2023 (arXiv 2310.16028). Symbols may repeat, so looking for the
last symbol of the answer makes no copy.

Shape letter: n symbols of the prompt, which is the size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lengthgen.data.sources.draws import Draws
from lengthgen.data.sources.tasks import WholeAnswers


@dataclass(frozen=True)
class Strings(WholeAnswers):
    """answer: (n,) symbols of the prompt -> (n,) symbols."""

    n_content: int
    answer: Callable[[np.ndarray], np.ndarray]

    def length(self, size: int) -> int:
        return 2 * size + 2

    def example(self, draws: Draws, size: int) -> tuple[np.ndarray, np.ndarray]:
        prompt = draws.integers(self.n_content, size)
        return prompt, self.answer(prompt)


def copied(prompt: np.ndarray) -> np.ndarray:
    return prompt.copy()


def backwards(prompt: np.ndarray) -> np.ndarray:
    return prompt[::-1].copy()


def ordered(prompt: np.ndarray) -> np.ndarray:
    return np.sort(prompt)
