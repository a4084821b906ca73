"""Base classes of synthetic datasets: documents drawn from a source with a known floor.

Each document has a random stream keyed by seed, split and number: train and validation are
independent, and more documents leave the first ones as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lengthgen.config.dataclass_from import check, limit
from lengthgen.data.datasets.base import Dataset, Document, options_key
from lengthgen.data.sources.base import Source
from lengthgen.data.sources.draws import Draws
from lengthgen.data.sources.lags import Lags
from lengthgen.data.sources.weights import Law
from lengthgen.errors import ConfigError

Names = tuple[str, ...]


@dataclass
class Drawn:
    label: str = "synthetic"  # name in tables and figures
    seed: int = 0  # of the documents; the run's own seed does not change them
    train_documents: int = 1024  # documents to train on
    validation_documents: int = 64  # documents to evaluate on, independent of those

    # fields that have to be > 0, and those that have to be >= 2
    POSITIVE: ClassVar[Names] = ("train_documents", "validation_documents", "document_length")
    AT_LEAST_TWO: ClassVar[Names] = ()

    def __post_init__(self):
        limit(self, "dataset", "> 0", *self.POSITIVE)
        limit(self, "dataset", ">= 2", *self.AT_LEAST_TWO)


@dataclass
class Settings(Drawn):
    document_length: int = 4096  # symbols in a document, without its begin-of-document token


@dataclass
class WholeSettings(Drawn):
    """Windows are whole documents, so each length to evaluate needs documents of it."""

    train_documents: int = 4096  # documents to train on
    document_length: int | None = None  # symbols in a training document; null: the train_length
    # symbols in the documents to evaluate on; null: the lengths of the evaluation
    lengths: list[int] | None = None

    def __post_init__(self):
        super().__post_init__()
        check(self.lengths != [], "dataset.lengths=[]: expected at least one length, or null")

    def known(self) -> tuple[int, list[int]]:
        """(document_length, lengths). ConfigError while a length is still that of the run."""
        if self.document_length is None or self.lengths is None:
            name = "document_length" if self.document_length is None else "lengths"
            raise ConfigError(f"dataset.{name}=null: expected a number where no run decides it")
        return self.document_length, self.lengths


class Whole(Dataset):
    """Documents that are windows as they stand, as long as the run asks for."""

    whole_documents = True

    @classmethod
    def fitted(
        cls, options: Mapping[str, Any], train_length: int, lengths: Sequence[int]
    ) -> dict[str, Any]:
        run = {"document_length": train_length, "lengths": list(lengths)}
        missing = {key: value for key, value in run.items() if options.get(key) is None}
        return {**options, **missing}


@dataclass
class Copying:
    """Options of sources that copy earlier symbols."""

    n_symbols: int = 32  # different symbols
    p: float = 0.9  # probability that a symbol is copied


@dataclass
class CopySettings(Copying, Settings):
    pass


class Synthetic(Dataset):
    """Subclasses define `Config` and `make_source`."""

    def __init__(self, config: Any):
        super().__init__(config)
        try:
            self.source = self.make_source()
        except ValueError as error:  # of the source; its message begins with the option
            raise ConfigError(f"dataset.{error}") from None
        self.symbols = checked_symbols(self.source.n_symbols, self.label)

    def make_source(self) -> Source:
        raise NotImplementedError

    def lengths(self, split: str) -> list[int]:
        """Symbols in each document of a split."""
        config = self.config
        count = config.train_documents if split == "train" else config.validation_documents
        return [config.document_length] * count

    def documents(self, split: str) -> Iterator[Document]:
        for number, length in enumerate(self.lengths(split)):
            draws = Draws(self.config.seed, split, number)
            yield Document(f"{split}-{number:07d}", self.source.sample(draws, length))

    def key(self) -> str:
        return options_key(self.config)

    def floors(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        return self.source.losses(symbols, window)


class LagDataset(Synthetic):
    """Copies from lags. Subclasses define `Config` (CopySettings) and `law`."""

    def make_source(self) -> Lags:
        return Lags(self.config.n_symbols, self.config.p, *self.law())

    def law(self) -> Law:
        """(lags, weights), from sources/weights.py."""
        raise NotImplementedError


def checked_symbols(count: int, label: str) -> int:
    """ConfigError for more symbols than a token store holds in 16 bits."""
    check(count < 2**16, f"dataset {label} has {count} symbols: expected below {2**16}")
    return count
