"""The evaluation of a run that an export reports: its rows, words and figure.

It is that of the run's own command, or of the same retrofit, unless another is named; one of an
earlier step or another retrofit is of another model than the exported one.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.errors import ConfigError, DataError
from lengthgen.evaluation import records
from lengthgen.runs.retrofitting import ADDED

FIGURE = "loss_by_length"


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation of a run. lengths, documents: rows of its tables, as text."""

    id: str
    folder: Path
    settings: dict[str, Any]
    lengths: list[dict[str, str]]
    documents: list[dict[str, str]]

    @property
    def train_length(self) -> int:
        return int(self.settings["train_length"])

    @property
    def words(self) -> dict[int, str]:
        """Evaluation length -> fails, tolerates, uses, ..."""
        return {int(length): word for length, word in self.settings.get("words", {}).items()}

    def values(self, protocol: str, metric: str) -> dict[int, dict[str, str]]:
        """Evaluation length -> the row of a metric, in rising order."""
        rows = (r for r in self.lengths if (r["protocol"], r["metric"]) == (protocol, metric))
        return dict(sorted((int(row["eval_length"]), row) for row in rows))

    @property
    def protocols(self) -> list[str]:
        return list(dict.fromkeys(row["protocol"] for row in self.lengths))

    @property
    def figure(self) -> Path | None:
        """The picture of the loss by length, where the run drew one."""
        setting = next((row["evaluation"] for row in self.lengths), self.id)
        path = self.folder.parent.parent / "figures" / f"{setting}-{FIGURE}.png"
        return path if path.is_file() else None


def choose(
    run: Path, own: str, asked: str | None, retrofit: Mapping[str, Any] | None = None
) -> Evaluation | None:
    """The evaluation named `asked`, a part of its id, else `own`, the model's.

    Of the last step's weights under the retrofit (its name and every option); without one, as they
    were trained. None where a retrofit has no evaluation. ConfigError where one is asked for that
    is not there.
    """
    of_run = records.run(run)
    steps = str(of_run.config.get("steps"))
    usable = {path.name: path for path in of_run.evaluations if _is_of(path, steps, retrofit)}
    if asked is not None:
        names = [name for name in usable if name == asked] or [n for n in usable if asked in n]
    elif retrofit is not None and not usable:
        return None
    else:
        names = [own] if own in usable else sorted(usable)[:1]
    if len(names) != 1:
        known = ", ".join(usable) or "none"
        wanted = f"--evaluation {asked}: " if asked is not None else ""
        raise ConfigError(
            f"{wanted}expected one finished evaluation of this model, the run has {known}; "
            f"`lengthgen evaluate run={run.name}` makes one"
        )
    return read(run, names[0])


def read(run: Path, name: str) -> Evaluation:
    """The evaluation with this id. DataError where it is damaged."""
    folder = run / "evaluation" / name
    if faults := records.run(run).faults_of(folder):
        raise DataError(f"evaluation {name} of {run.name}: {faults[0]}; evaluate it again")
    settings = files.read_json(folder / "settings.json", {})
    tables = [_read(folder / f"{table}.csv") for table in ("lengths", "documents")]
    return Evaluation(name, folder, settings, *tables)


def _is_of(folder: Path, steps: str, retrofit: Mapping[str, Any] | None) -> bool:
    """Whether it is of the weights after all steps, under this retrofit."""
    stored = files.read_json(folder / "settings.json", {}).get("origin", {}).get("retrofit") or {}
    options = {key: value for key, value in stored.items() if key not in ADDED}
    return options == dict(retrofit or {}) and all(
        row["steps"] == steps for row in _read(folder / "lengths.csv")
    )


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}; evaluate the run again") from None
