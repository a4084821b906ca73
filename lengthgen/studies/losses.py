"""What a study's claims are made of: the per-token losses that its runs wrote, added up by seed and document.

A subject is an arm, or arm+condition. All its seeds scored the same windows of the same documents; so did every subject with the same data
and evaluation, which is what makes their differences paired.

Shape letters: S seeds, D documents, W windows, P scored positions. Nats.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lengthgen import files
from lengthgen.data.splits import Splits, prepare_splits
from lengthgen.errors import DataError
from lengthgen.evaluation import records
from lengthgen.statistics.comparisons import Paired

Values = Callable[["Block"], np.ndarray]  # what is added up: (W, P)


@dataclass(frozen=True)
class Block:
    """One protocol at one length, of one seed. losses: (W, P) nats; floors: the same, or None where the data have none.

    document, start, first: (W,), the document of a window, where in it the window begins, and its first scored position.
    """

    losses: np.ndarray
    floors: np.ndarray | None
    document: np.ndarray
    start: np.ndarray
    first: np.ndarray

    @property
    def excess(self) -> np.ndarray:
        if self.floors is None:
            raise DataError(
                "these data have no exact floor, so that no excess over it is known; expected a synthetic dataset"
            )
        return self.losses - self.floors


class Evaluation:
    """One evaluation folder of one run."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def _arrays(self) -> Mapping[str, np.ndarray]:
        with np.load(self.folder / "losses.npz") as stored:
            return dict(stored)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The run's configuration."""
        return records.run(self.folder.parent.parent).config

    def splits(self) -> Splits:
        """The data that the run was trained on; the run folder keeps the code of a user's dataset."""
        config, kept = self.config, self.folder.parent.parent / "dataset"
        return prepare_splits(config["dataset"], config["tokenizer"], config["cache"], [kept])

    @cached_property
    def outcomes(self) -> list[dict[str, Any]]:
        """protocol, eval_length, status, reason of everything that was asked for."""
        return files.read_json(self.folder / "settings.json", {}).get("outcomes", [])

    @property
    def train_length(self) -> int:
        return int(self.config["train_length"])

    def lengths(self, protocol: str) -> list[int]:
        return sorted(
            {int(one["eval_length"]) for one in self.outcomes if one["protocol"] == protocol}
        )

    def block(self, protocol: str, length: int) -> Block:
        """DataError, with the reason, where there are no losses."""
        key = f"{protocol}/{length}"
        if f"{key}/losses" not in self._arrays:
            said = next(
                (
                    o
                    for o in self.outcomes
                    if o["protocol"] == protocol and int(o["eval_length"]) == length
                ),
                None,
            )
            reason = (
                f"{said['status']}: {said['reason']}"
                if said
                else f"not evaluated; there are {self.lengths(protocol)}"
            )
            raise DataError(
                f"{self.folder.parent.parent.name}: no losses for {protocol} at {length} ({reason})"
            )
        found = {
            name: self._arrays.get(f"{key}/{name}")
            for name in ("losses", "floors", "document", "start", "first")
        }
        return Block(**found | {"losses": found["losses"].astype(np.float64)})


@dataclass(frozen=True)
class Subject:
    """The evaluations of an arm (under a condition), one a seed, in the order of the seeds."""

    name: str
    evaluations: Sequence[Evaluation]

    @property
    def train_length(self) -> int:
        return self.evaluations[0].train_length

    def length(self, at: float) -> int:
        """The evaluation length that is `at` times the training length, to the nearest token."""
        return round(at * self.train_length)

    def total(self, protocol: str, length: int, values: Values) -> Paired:
        """Sums by seed and document, (S, 1, D), and tokens (1, D), of what `values` makes of each seed's block."""
        sums, tokens = zip(
            *(
                _by_document(block, values(block))
                for block in (e.block(protocol, length) for e in self.evaluations)
            ),
            strict=True,
        )
        return Paired(np.stack(sums)[:, None], tokens[0][None])


@dataclass(frozen=True)
class Material:
    """Every subject of a study, by name."""

    subjects: Mapping[str, Subject]

    def __getitem__(self, name: str) -> Subject:
        return self.subjects[name]


def _by_document(block: Block, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(W, P) -> sums (D,) and counts (D,), documents in the order of their numbers."""
    _, place = np.unique(block.document, return_inverse=True)
    return np.bincount(place, weights=values.sum(axis=1)), np.bincount(place).astype(
        np.float64
    ) * values.shape[1]
