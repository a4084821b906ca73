"""What the algorithmic tasks share: documents of examples (sources/tasks.py), trained at one length, asked at each of several.

Training documents are as long as the training window and full of examples of all sizes that fit; validation documents have exactly the
lengths to evaluate, each with one example of the largest size that fits there. Both are read whole: train_length =
dataset.document_length and cross_documents=false, and evaluation lengths are among dataset.lengths.

Only answers are trained on and scored (`answers`): prompts are random, and their loss, which nobody can lower, would drown the rest. An
answer has one right form, so that what is reported is exact match by length.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets import synthetic
from lengthgen.data.datasets.base import Dataset, Document, options_key
from lengthgen.data.sources.draws import Draws
from lengthgen.data.sources.tasks import Packed, Task


@dataclass
class Settings(synthetic.Settings):
    label: str = "task"  # name in tables and figures
    train_documents: int = 4096  # documents to train on
    validation_documents: int = 96  # documents to evaluate on, of each length
    document_length: int = 512  # symbols in a training document: the train_length
    lengths: list[int] = field(
        default_factory=lambda: [256, 512, 640, 768, 1024, 1536, 2048]
    )  # symbols in the documents to evaluate on

    def __post_init__(self):
        super().__post_init__()
        check(bool(self.lengths), "dataset.lengths=[]: expected at least one length")


@dataclass
class StringSettings(Settings):
    n_symbols: int = 32  # different symbols of the strings

    def __post_init__(self):
        super().__post_init__()
        check(self.n_symbols >= 2, f"dataset.n_symbols={self.n_symbols}: expected at least 2")


class TaskDataset(Dataset):
    """Subclasses give `Config` and `make_task`."""

    whole_documents = True
    answered = True

    def __init__(self, config: Settings):
        super().__init__(config)
        self.packed = Packed(self.make_task())
        self.symbols = self.packed.n_symbols
        check(
            self.symbols < 2**16,
            f"dataset {config.label} has {self.symbols} symbols: expected below {2**16}",
        )
        least = self.packed.task.length(1)
        for name, length in (
            ("document_length", config.document_length),
            ("lengths", min(config.lengths)),
        ):
            check(
                length >= least,
                f"dataset.{name}: {length} symbols hold no example of {config.label}; expected at least {least}",
            )

    def make_task(self) -> Task:
        raise NotImplementedError

    @property
    def largest(self) -> int:
        """The largest size that any document may have."""
        return self.packed.largest(max(self.config.document_length, *self.config.lengths))

    def documents(self, split: str) -> Iterator[Document]:
        config = self.config
        train = split == "train"
        count, make = (
            (config.train_documents, self.packed.full)
            if train
            else (config.validation_documents, self.packed.one)
        )
        for length in [config.document_length] if train else sorted(set(config.lengths)):
            for number in range(
                count
            ):  # keyed by the length too: more lengths leave the documents of the others as they are
                yield Document(
                    f"{split}-{length}-{number:07d}",
                    make(Draws(config.seed, split, length, number), length),
                )

    def key(self) -> str:
        return options_key(self.config)

    def answers(self, symbols: np.ndarray) -> np.ndarray:
        return self.packed.answers(symbols)
