"""Tidy tables over many runs: gathered, and published. Knows no torch.

A published folder, results/<name>/, holds lengths.csv, documents.csv, positions.csv, summary.csv
and provenance.json: all that its figures need, in an order that gives the same bytes again.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation import records, seals, selection
from lengthgen.reporting.over_seeds import positions_over_seeds, summarise
from lengthgen.reporting.table_files import (
    GROUP,
    LINE,
    SUMMARY,
    as_rows,
    ends,
    matching,
    read_as_written,
    read_table,
    sort,
    with_types,
    write_or_remove,
    write_table,
)
from lengthgen.terminal.progress import each

__all__ = [
    "GROUP", "LINE", "SUMMARY", "Fault", "Tables", "as_rows", "collect", "ends", "faults_of",
    "is_published", "matching", "positions_over_seeds", "publish", "published",
    "read_evaluations", "read_table", "select", "sort", "summarise", "write_or_remove",
    "write_summary", "write_table",
]  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What is damaged: a line that says how to mend it. evaluation: None for a run's own files."""

    run: str
    line: str
    evaluation: Path | None = None


@dataclass(frozen=True)
class Tables:
    """Rows of many evaluations, with the columns of records.TABLES. faults: what was left out."""

    lengths: pd.DataFrame
    documents: pd.DataFrame
    positions: pd.DataFrame
    faults: tuple[Fault, ...] = ()


def collect(results: Path | str) -> Tables:
    """The tables of every finished evaluation under results/runs; empty if there is none.

    A damaged one (seals.py) is left out, and is one of the faults; so is a copy of another.
    """
    parts, faults = [], []
    seen: dict[tuple[str, ...], str] = {}
    runs = records.runs(results)
    for run in each("reading runs", runs, len(runs)):
        faults += [
            Fault(run.name, f"run {run.name}: {what}; rerun its training command")
            for what in run.faults
        ]
        for folder in run.evaluations:
            wrong = run.faults_of(folder)
            part: dict[str, pd.DataFrame] = {}
            try:
                part = {} if wrong else _read_folder(folder)
            except DataError as error:
                wrong = [str(error)]
            for row in as_rows(part["lengths"][["run", *LINE]][:1]) if part else ():
                key = tuple(row[name] for name in ("run", "scheme", "steps", "evaluation"))
                if row["run"] != run.name:
                    wrong = [f"its rows are of run {row['run']}"]
                elif key in seen:
                    wrong = [f"it repeats evaluation {seen[key]}"]
                seen.setdefault(key, folder.name)
            if wrong:
                line = f"run {run.name}, evaluation {folder.name}: {'; '.join(wrong)}"
                mend = "rerun the command that made it, or delete the folder"
                faults.append(Fault(run.name, f"{line}; {mend}", folder))
            else:
                parts.append(part)
    return dataclasses.replace(_joined(parts), faults=tuple(faults))


def read_evaluations(folders: Iterable[Path]) -> Tables:
    """The tables of these folders, one below the other. DataError if one cannot be read."""
    return _joined([_read_folder(folder) for folder in folders])


def _read_folder(folder: Path) -> dict[str, pd.DataFrame]:
    return {
        name: read_as_written(folder / f"{name}.csv", columns)
        for name, columns in records.TABLES.items()
    }


def _joined(parts: Sequence[Mapping[str, pd.DataFrame]]) -> Tables:
    tables = {}
    for name, columns in records.TABLES.items():
        rows = [part[name] for part in parts if len(part[name])]
        tables[name] = pd.DataFrame(columns=list(columns))
        if rows:
            tables[name] = with_types(pd.concat(rows, ignore_index=True))
    return Tables(tables["lengths"], tables["documents"], tables["positions"])


def select(tables: Tables, where: selection.Where) -> Tables:
    """The rows whose identity columns have one of the given values (selection.py)."""

    def chosen(table: pd.DataFrame) -> pd.DataFrame:
        for column, patterns in where.items():
            known = table[column].astype(str)
            table = table[known.isin(selection.fitting(column, patterns, known.unique()))]
        return table

    return Tables(
        chosen(tables.lengths), chosen(tables.documents), chosen(tables.positions), tables.faults
    )


def faults_of(chosen: Tables, where: selection.Where) -> list[Fault]:
    """The faults of the runs that were chosen, or of an evaluation that may be one of them."""
    runs = set(chosen.lengths["run"])
    return [each for each in chosen.faults if each.run in runs or _may_match(each, where)]


def _may_match(fault: Fault, where: selection.Where) -> bool:
    """Unless its own lengths.csv is whole and says that it does not match."""
    if fault.evaluation is None or "lengths.csv" in fault.line or seals.MANIFEST in fault.line:
        return fault.evaluation is not None
    try:
        rows = read_table(fault.evaluation / "lengths.csv", records.LENGTHS)
    except DataError:
        return True
    return not select(Tables(rows, rows, rows), where).lengths.empty


def publish(tables: Tables, folder: Path | str, note: Mapping[str, Any]) -> pd.DataFrame:
    """Write a published folder; note: provenance.json. Returns the summary."""
    folder = Path(folder)
    for name, columns in records.TABLES.items():
        write_table(folder / f"{name}.csv", getattr(tables, name), columns)
    files.write_json(folder / "provenance.json", dict(note))
    return write_summary(tables, folder)


def write_summary(tables: Tables, folder: Path) -> pd.DataFrame:
    """summary.csv of the tables into `folder`; returns it."""
    summary = summarise(tables.documents, tables.lengths)
    write_table(folder / "summary.csv", summary, SUMMARY)
    return summary


def published(results: Path | str) -> list[Path]:
    """The published folders under `results`, by name."""
    return sorted(
        folder
        for folder in Path(results).glob("[!.]*")
        if folder.name not in ("runs", "figures") and is_published(folder)
    )


def is_published(folder: Path) -> bool:
    """Whether it is sealed, or has all tables of a summary."""
    return seals.is_sealed(folder) or all(
        (folder / f"{name}.csv").is_file() for name in records.TABLES
    )
