"""What the synthetic datasets share: documents drawn from a source with a known floor (lengthgen/data/sources), the same on every machine.

A synthetic dataset is a file in this folder like any other: a `Config` that adds its source's options to `Settings`, and a
`Synthetic` that makes the source. Each document has a random stream of its own, keyed by seed, split and number: train and
validation are independent, and more documents leave the first ones as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.base import Dataset, Document, options_key
from lengthgen.data.sources.base import Source
from lengthgen.data.sources.draws import Draws


@dataclass
class Settings:
    label: str = "synthetic"  # name in tables and figures
    seed: int = 0  # of the documents; the run's own seed does not change them
    train_documents: int = 1024  # documents to train on
    validation_documents: int = 64  # documents to evaluate on, independent of those
    document_length: int = (
        4096  # symbols in a document; a token that begins the document comes before them
    )

    def __post_init__(self):
        for name in ("train_documents", "validation_documents", "document_length"):
            check(
                getattr(self, name) > 0,
                f"dataset.{name}={getattr(self, name)}: expected a positive integer",
            )


class Synthetic(Dataset):
    """Subclasses give `Config` and `make_source`. `source` is there for what else it knows (closed forms, distances, ...)."""

    def __init__(self, config: Settings):
        super().__init__(config)
        self.source = self.make_source()
        self.symbols = self.source.n_symbols

    def make_source(self) -> Source:
        raise NotImplementedError

    def lengths(self, split: str) -> list[int]:
        """Symbols in each document of a split."""
        count = (
            self.config.train_documents if split == "train" else self.config.validation_documents
        )
        return [self.config.document_length] * count

    def documents(self, split: str) -> Iterator[Document]:
        for number, length in enumerate(self.lengths(split)):
            draws = Draws(self.config.seed, split, number)
            yield Document(f"{split}-{number:07d}", self.source.sample(draws, length))

    def key(self) -> str:
        return options_key(self.config)

    def floors(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        return self.source.losses(symbols, window)


def check_symbols(n_symbols: int, p: float) -> None:
    """The options of every source that copies. Raises ConfigError."""
    check(2 <= n_symbols < 2**16, f"dataset.n_symbols={n_symbols}: expected 2 to {2**16 - 1}")
    check(0 <= p < 1, f"dataset.p={p}: expected 0 <= p < 1")
