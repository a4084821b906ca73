"""Keyed recall: pairs of a key and a value, some of which come again a chosen distance later: is the value still found there?"""

from dataclasses import dataclass, field

import numpy as np

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import Settings, Synthetic
from lengthgen.data.sources.recall import KeyedRecall as Source


@dataclass
class Config(Settings):
    label: str = "keyed_recall"  # name in tables and figures
    document_length: int = (
        2048  # symbols in a document; a token that begins the document comes before them
    )
    n_keys: int = 1024  # different keys; a document never has a new pair with an old key, so it needs half its length
    n_values: int = 64  # different values
    repeat: float = 0.5  # probability that a pair is asked for again, where the distance drawn has one that can be
    distances: list[int] = field(
        default_factory=lambda: [8, 16, 32, 64, 128, 256, 512, 1024]
    )  # to the repetition, in symbols; even

    def __post_init__(self):
        super().__post_init__()
        pairs = (self.document_length + 1) // 2
        check(
            self.n_keys >= pairs,
            f"dataset.n_keys={self.n_keys}: expected at least document_length / 2 = {pairs}",
        )
        check(self.n_values >= 2, f"dataset.n_values={self.n_values}: expected at least 2")
        check(
            self.n_keys + self.n_values < 2**16,
            f"dataset.n_keys + n_values = {self.n_keys + self.n_values}: expected below {2**16}",
        )
        check(0 < self.repeat < 1, f"dataset.repeat={self.repeat}: expected between 0 and 1")
        even = all(distance >= 2 and distance % 2 == 0 for distance in self.distances)
        check(
            even and 0 < len(set(self.distances)) == len(self.distances),
            f"dataset.distances={self.distances}: expected different even numbers >= 2 (a pair is two symbols)",
        )


class KeyedRecall(Synthetic):
    Config = Config
    retrieves = True

    def make_source(self) -> Source:
        config = self.config
        return Source(config.n_keys, config.n_values, config.repeat, tuple(config.distances))

    def distances(self, symbols: np.ndarray) -> np.ndarray:
        return self.source.distances_of(symbols)
