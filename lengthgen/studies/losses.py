"""The losses of a study's runs, added up by seed and document: what its claims are made of.

A subject is an arm, or arm+condition. Subjects with the same data and evaluation scored the same
windows with every seed: their differences are paired.

Shape letters: W windows, P scored positions. Nats.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation import records, stored
from lengthgen.evaluation.stored import Stored
from lengthgen.statistics.paired import Paired

if TYPE_CHECKING:
    from lengthgen.data.splits import Splits

Values = Callable[[Stored], np.ndarray]  # what is added up: (W, P)


def per_token(one: Stored) -> np.ndarray:
    return one.losses


@dataclass(frozen=True)
class EvaluatedRun:
    """One evaluation folder of one run."""

    folder: Path
    _read: dict[tuple[str, int], Stored] = field(default_factory=dict, repr=False, compare=False)
    # What was made of the run's weights once, by name.
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The run's configuration. DataError if it cannot be read."""
        run = records.run(self.folder.parent.parent)
        if not run.config:
            raise DataError(f"run {run.name}: its config.yaml cannot be read; rerun the study")
        return run.config

    def splits(self) -> "Splits":
        """The data that the run was trained on."""
        # Loads torch, which `lengthgen study --help` and a report do without.
        from lengthgen.data.splits import prepare_splits

        # The run folder keeps the code of a user's dataset.
        config, kept = self.config, self.folder.parent.parent / "dataset"
        return prepare_splits(config["dataset"], config["tokenizer"], config["cache"], [kept])

    @cached_property
    def outcomes(self) -> list[dict[str, Any]]:
        """protocol, eval_length, status and reason of every request of the evaluation."""
        return files.read_json(self.folder / "settings.json", {}).get("outcomes", [])

    @property
    def retrofit(self) -> Mapping[str, Any]:
        """Name and options of the retrofit of the evaluation; empty without one."""
        origin = files.read_json(self.folder / "settings.json", {}).get("origin", {})
        return origin.get("retrofit") or {}

    @property
    def scheme(self) -> str:
        return str(self.config["scheme"]["name"])

    @property
    def dataset(self) -> str:
        """As tables and figures call it."""
        dataset = self.config["dataset"]
        return str(dataset.get("label") or dataset["name"])

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def train_length(self) -> int:
        return int(self.config["train_length"])

    @property
    def training(self) -> Mapping[str, Any]:
        """How the training ended (training/ending.py); empty for an older run."""
        ended = files.read_json(self.folder.parent.parent / "done.json", {}).get("training")
        return ended if isinstance(ended, dict) else {}

    @property
    def steps(self) -> int:
        """Steps that were done: a training that settles ends before its ceiling."""
        return int(self.training.get("steps") or self.config["steps"])

    def lengths(self, protocol: str) -> list[int]:
        return sorted({length for name, length in self._reasons if name == protocol})

    def stored(self, protocol: str, length: int) -> Stored:
        """Losses in float64. DataError, with the reason, where there are none."""
        key = protocol, length
        if key not in self._read:
            if length not in stored.lengths(self.folder, protocol):
                reason = self._reasons.get(
                    key, f"not evaluated; there are {self.lengths(protocol)}"
                )
                raise DataError(
                    f"{self.folder.parent.parent.name}: no losses for {protocol} at {length} "
                    f"({reason})"
                )
            one = stored.read(self.folder, protocol, length)
            self._read[key] = replace(one, losses=one.losses.astype(np.float64))
        return self._read[key]

    @property
    def _reasons(self) -> dict[tuple[str, int], str]:
        return {
            (one["protocol"], int(one["eval_length"])): f"{one['status']}: {one['reason']}"
            for one in self.outcomes
        }


@dataclass(frozen=True)
class EvaluatedArm:
    """The evaluations of an arm (under a condition), one a seed, in the order of the seeds."""

    name: str
    evaluations: Sequence[EvaluatedRun]

    @property
    def train_length(self) -> int:
        return self.evaluations[0].train_length

    def length(self, at: float) -> int:
        return round(at * self.train_length)

    def total(self, protocol: str, length: int, values: Values = per_token) -> Paired:
        """Sums by seed and document of what `values` makes of each seed's losses."""
        of_seeds = [evaluation.stored(protocol, length) for evaluation in self.evaluations]
        first = of_seeds[0]
        if not all(first.same_targets(one) for one in of_seeds):
            raise DataError(
                f"{self.name}: seeds scored other tokens of {protocol} at {length}; "
                "evaluate them on the same data with the same settings"
            )
        return first.by_document([values(one) for one in of_seeds]).paired()

    def bigram(self, protocol: str, length: int) -> Paired:
        """That of a bigram table of the training text on the same targets: one row."""
        first = self.evaluations[0].stored(protocol, length)
        if first.bigram is None:
            raise DataError(
                f"{self.evaluations[0].folder} has no losses of a bigram table for {protocol}"
            )
        table = first.by_document([first.bigram]).paired()
        return Paired(table.sums, self.total(protocol, length).n_tokens)


@dataclass(frozen=True)
class Material:
    """Every subject of a study, by name."""

    subjects: Mapping[str, EvaluatedArm]

    def __getitem__(self, name: str) -> EvaluatedArm:
        return self.subjects[name]
