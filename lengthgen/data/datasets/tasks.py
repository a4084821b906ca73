"""Base classes of the algorithmic tasks: documents of examples (sources/tasks.py).

Training documents are filled with examples of all sizes that fit; validation documents have the
lengths to evaluate, each with one example, the largest that fits. Windows are whole documents, so
both lengths are those of the run unless they are given.

Only answers are trained on and scored (exact match by length): prompts are random, and their loss,
which nothing can lower, would drown the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.base import Document, options_key
from lengthgen.data.datasets.synthetic import Whole, WholeSettings, checked_symbols
from lengthgen.data.sources.draws import Draws
from lengthgen.data.sources.strings import Strings
from lengthgen.data.sources.tasks import Packed, Task


@dataclass
class Settings(WholeSettings):
    validation_documents: int = 96  # documents to evaluate on, of each length


@dataclass
class StringSettings(Settings):
    n_symbols: int = 32  # different symbols of the strings
    AT_LEAST_TWO = ("n_symbols",)


class TaskDataset(Whole):
    """Subclasses define `Config` and `make_task`."""

    answered = True

    def __init__(self, config: Any):
        super().__init__(config)
        self.packed = Packed(self.make_task())
        self.symbols = checked_symbols(self.packed.n_symbols, self.label)
        least = self.packed.task.length(1)
        document_length, lengths = config.known()
        shortest = {"document_length": document_length, "lengths": min(lengths)}
        for name, length in shortest.items():
            check(
                length >= least,
                f"dataset.{name}: {length} symbols hold no example of {config.label}; "
                f"expected at least {least}",
            )

    def make_task(self) -> Task:
        raise NotImplementedError

    @property
    def largest(self) -> int:
        """The largest size of an example."""
        return self.packed.largest(max(self.config.document_length, *self.config.lengths))

    def documents(self, split: str) -> Iterator[Document]:
        config = self.config
        lengths, count, make = [config.document_length], config.train_documents, self.packed.full
        if split == "validation":
            lengths, count = sorted(set(config.lengths)), config.validation_documents
            make = self.packed.one
        for length in lengths:
            for number in range(count):
                # keyed by the length too: one more length leaves the other documents as they are
                draws = Draws(config.seed, split, length, number)
                yield Document(f"{split}-{length}-{number:07d}", make(draws, length))

    def key(self) -> str:
        return options_key(self.config)

    def answers(self, symbols: np.ndarray) -> np.ndarray:
        return self.packed.answers(symbols)


class StringTask(TaskDataset):
    """A string of random symbols, then `answer` of it."""

    @staticmethod
    def answer(prompt: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def make_task(self) -> Strings:
        return Strings(self.config.n_symbols, self.answer)
