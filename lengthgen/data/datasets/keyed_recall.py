"""Keyed recall: pairs of a key and a value, some repeated a chosen distance later.

It asks whether a model still finds the value at that distance.
"""

from dataclasses import dataclass, field

import numpy as np

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import Settings, Synthetic
from lengthgen.data.sources.recall import KeyedRecall as Source


@dataclass
class Config(Settings):
    label: str = "keyed_recall"
    document_length: int = 2048  # symbols in a document, without its begin-of-document token
    n_keys: int = 1024  # different keys; at least half of document_length, as new pairs differ
    n_values: int = 64  # different values
    repeat: float = 0.5  # probability that a pair repeats an earlier one, where there is one
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


class KeyedRecall(Synthetic):
    Config = Config
    retrieves = True
    source: Source

    def make_source(self) -> Source:
        config = self.config
        return Source(config.n_keys, config.n_values, config.repeat, tuple(config.distances))

    def distances(self, symbols: np.ndarray) -> np.ndarray:
        return self.source.distances_of(symbols)
