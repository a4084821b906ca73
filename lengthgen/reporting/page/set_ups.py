"""The set-ups of results/: what one published folder, or one group of runs, measured.

Published folders are read as they are sealed: their tables, and the SVG of `lengthgen plot` for
readers without scripts. Runs of results/runs that no published folder holds come after them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation import records, seals
from lengthgen.reporting import publication, tables, verdicts

READ = ("summary.csv", "verdicts.csv", "provenance.json")


@dataclass(frozen=True)
class SetUp:
    """One group of rows that may be compared. note: provenance.json. pictures: stem -> SVG."""

    name: str
    source: str
    summary: pd.DataFrame
    verdicts: pd.DataFrame
    note: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)

    @property
    def first(self) -> dict[str, Any]:
        return tables.as_rows(self.summary[:1])[0]

    @property
    def n_seeds(self) -> int:
        return int(self.summary["n_seeds"].max())

    @property
    def evidence(self) -> tuple[bool, int, int]:
        """What the page begins with has the most: several seeds, then training, then schemes."""
        trained = int(self.first["steps"]) * int(self.first["train_length"])
        return self.n_seeds > 1, trained, self.summary["scheme"].nunique()


def published(results: Path, on_fault: Callable[[str], None]) -> list[SetUp]:
    """Of every published folder, by name. on_fault: gets a line for each that is damaged."""
    found: list[SetUp] = []
    for folder in tables.published(results):
        try:
            found += _of_folder(folder)
        except DataError as error:
            on_fault(str(error))
    return found


def unpublished(results: Path, known: list[SetUp], on_fault: Callable[[str], None]) -> list[SetUp]:
    """Groups of finished evaluations under results/runs with a run that no published folder has."""
    collected = tables.collect(results)
    for fault in collected.faults:
        on_fault(fault.line)
    if collected.lengths.empty:
        return []
    seen = {run["run"] for each in known for run in each.note.get("runs", [])}
    summary = tables.summarise(collected.documents, collected.lengths)
    found, runs = [], list(records.runs(results))
    for first, rows in _groups(summary):
        lengths = verdicts.of_group(collected.lengths, first)
        if set(lengths["run"]) <= seen:
            continue
        documents = verdicts.of_group(collected.documents, first)
        note = publication.provenance(runs, lengths)
        said = verdicts.table(documents, rows, note)
        name = f"{first['dataset']}-{first['model']}-{first['train_length']}-{first['evaluation']}"
        source = "results/runs: " + ", ".join(sorted(set(lengths["run"])))
        found.append(SetUp(name, source, rows, said, note))
    return found


def _of_folder(folder: Path) -> Iterator[SetUp]:
    if wrong := seals.faults(folder, folder.name, READ):
        raise DataError(
            f"{folder}: {'; '.join(wrong)}; publish it again, or put the published file back"
        )
    summary = tables.read_table(folder / "summary.csv", tables.SUMMARY)
    said = pd.DataFrame(columns=list(verdicts.COLUMNS))
    if (folder / "verdicts.csv").is_file():
        said = _read_verdicts(folder / "verdicts.csv")
    note = files.read_json(folder / "provenance.json", {})
    groups = list(_groups(summary))
    for first, rows in groups:
        single = len(groups) == 1
        name = folder.name if single else f"{folder.name}, {first['dataset']} {first['steps']}"
        pictures = _pictures(folder) if single else {}
        source = f"results/{folder.name}"
        yield SetUp(name, source, rows, verdicts.of_group(said, first), note, pictures)


def _read_verdicts(path: Path) -> pd.DataFrame:
    """Older folders lack the optional columns."""
    text = {"scheme", "word", "positions_over", "reason", "reference", "gate", "gate_reason"}
    kinds = {name: str for name in (*tables.GROUP, *text) if name not in ("train_length", "steps")}
    try:
        rows = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=_empty(kinds))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; publish it again") from error
    if missing := [name for name in verdicts.VERDICTS if name not in rows]:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}; publish it again")
    return rows.reindex(columns=list(verdicts.COLUMNS))


def _empty(text: Mapping[str, Any]) -> dict[str, list[str]]:
    """A scheme called NA is not a missing value; an empty number is."""
    return {name: [""] for name in verdicts.COLUMNS if name not in text}


def _groups(summary: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    for _, rows in summary.groupby(list(tables.GROUP), sort=True):
        yield tables.as_rows(rows[:1])[0], rows


def _pictures(folder: Path) -> dict[str, str]:
    return {path.stem: files.read_text(path) for path in sorted(folder.glob("loss_by_length*.svg"))}
