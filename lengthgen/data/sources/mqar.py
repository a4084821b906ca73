"""Multi-query associative recall (MQAR): pairs of a key and a value, then every key again.

    k4 v7 k1 v2 k9 v7 = k1 v2 k9 v7 k4 v7 .
                           ^     ^     ^        the answers: the values alone

Source: Arora et al. 2023 (arXiv 2312.04927), whose data repeat keys at gaps of a power law; here
all come again at the end, in another order, as in the example that defines the task there. Keys of
an example differ. recall.py asks the same in a stream, by distance and with an exact floor.

Symbols: keys 0 .. n_keys - 1, then values. Shape letter: n pairs, which is the size.
"""

from dataclasses import dataclass

import numpy as np

from lengthgen.data.sources.draws import Draws


@dataclass(frozen=True)
class AssociativeRecall:
    n_keys: int
    n_values: int

    @property
    def n_content(self) -> int:
        return self.n_keys + self.n_values

    def length(self, size: int) -> int:
        return 4 * size + 2

    def example(self, draws: Draws, size: int) -> tuple[np.ndarray, np.ndarray]:
        if size > self.n_keys:
            raise ValueError(f"{size} pairs need as many keys; there are {self.n_keys}")
        keys = np.argsort(draws.uniform(self.n_keys), kind="stable")[:size]
        pairs = np.stack((keys, self.n_keys + draws.integers(self.n_values, size)), axis=1)
        order = np.argsort(draws.uniform(size), kind="stable")
        return pairs.ravel(), pairs[order].ravel()

    def scored(self, symbols: np.ndarray) -> np.ndarray:
        return (symbols >= self.n_keys) & (symbols < self.n_content)
