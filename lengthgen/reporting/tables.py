"""Tidy tables over many runs: gathered, summed up over seeds, published. Knows no torch.

A published folder, results/<name>/, holds lengths.csv, documents.csv, positions.csv, summary.csv
and provenance.json: all that its figures need, in an order that gives the same bytes again.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation import records, seals
from lengthgen.reporting.figures import palette
from lengthgen.statistics import intervals
from lengthgen.statistics.losses import Losses, Means

# What one figure is about, and then one line of it.
GROUP = ("dataset", "model", "train_length", "steps", "setting", "evaluation")
LINE = (*GROUP, "protocol", "scheme")


def ends(name: str) -> tuple[str, str, str]:
    """The columns of a mean and of the bounds of its interval."""
    return name, f"{name}_low", f"{name}_high"


# Not known of all data. excess: over the exact floor of the same tokens. exact_match: of documents.
# bigram: the loss of a bigram table of the training text on the same tokens; below_bigram: what the
# loss is below it.
ADDED = (*ends("excess"), *ends("exact_match"), "bigram", *ends("below_bigram"))
# One row for each line and eval_length. loss and its bounds in nats/token, over all seeds;
# n_tokens: scored tokens of one seed. loss_change: from train_length, paired, matched protocol
# only. status and reason: as in lengths.csv.
SUMMARY = (
    *LINE, "eval_length", "n_seeds", "n_documents", "n_tokens", *ends("loss"), *ends("perplexity"),
    "bits_per_byte", *ends("loss_change"), "dtype", "status", "reason", *ADDED,
)  # fmt: skip
# Written where a row has one; tables without them still read.
OPTIONAL = {"floor_sum", "bigram_sum", *ADDED}
TEXT = {
    "run", "scheme", "dataset", "model", "setting", "evaluation", "protocol", "metric", "document",
    "dtype", "status", "reason", "targets",
}  # fmt: skip
WHOLE = {
    "seed", "train_length", "steps", "eval_length", "position", "position_end", "n_seeds",
    "n_documents", "n_tokens", "n_bytes",
}  # fmt: skip


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


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table with its columns' types: a hash of digits stays text. DataError if it is another."""
    return _whole(_read(path, columns))


def collect(results: Path | str) -> Tables:
    """The tables of every finished evaluation under results/runs; empty if there is none.

    A damaged one (seals.py) is left out, and is one of the faults; so is a copy of another.
    """
    parts, faults = [], []
    seen: dict[tuple[str, ...], str] = {}
    for run in records.runs(results):
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
        name: _read(folder / f"{name}.csv", columns) for name, columns in records.TABLES.items()
    }


def _joined(parts: Sequence[Mapping[str, pd.DataFrame]]) -> Tables:
    tables = {}
    for name, columns in records.TABLES.items():
        rows = [part[name] for part in parts if len(part[name])]
        tables[name] = pd.DataFrame(columns=list(columns))
        if rows:
            tables[name] = _whole(pd.concat(rows, ignore_index=True))
    return Tables(tables["lengths"], tables["documents"], tables["positions"])


def as_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], table.to_dict("records"))


def matching(table: pd.DataFrame, columns: Sequence[str], row: Mapping[str, Any]) -> np.ndarray:
    """Which rows of a table agree with `row` in these columns, as bool."""
    return np.logical_and.reduce([table[name] == row[name] for name in columns])


def select(tables: Tables, where: Mapping[str, Sequence[str]]) -> Tables:
    """The rows whose identity columns have one of the given values (compared as text)."""

    def chosen(table: pd.DataFrame) -> pd.DataFrame:
        for column, values in where.items():
            table = table[table[column].astype(str).isin(list(values))]
        return table

    return Tables(
        chosen(tables.lengths), chosen(tables.documents), chosen(tables.positions), tables.faults
    )


def summarise(documents: pd.DataFrame, lengths: pd.DataFrame) -> pd.DataFrame:
    """SUMMARY of each line and eval_length, over seeds.

    Intervals: statistics/losses.py. A length without a value of any seed is a row with its status
    and reason; one where some seeds have none is estimated from the others and says so. A loss that
    is not finite (or a leak) of any seed leaves no value: a mean over the seeds that survived would
    flatter the scheme.
    """
    stated: dict[tuple, dict[int, list[dict]]] = {}  # line -> eval_length -> a row of each seed
    for row in as_rows(lengths[lengths["metric"] == "loss"]):
        of_line = stated.setdefault(tuple(row[column] for column in LINE), {})
        of_line.setdefault(row["eval_length"], []).append(row)
    scored = dict(list(documents.groupby(list(LINE), sort=False)))
    matches, rows = _matches(lengths), []
    for line, at_length in stated.items():
        named = dict(zip(LINE, line, strict=True))
        numbers = _line_numbers(scored[line], named) if line in scored else {}
        for eval_length, of_seeds in at_length.items():
            status, reason = _status(of_seeds)
            row = dict.fromkeys(SUMMARY) | named
            row |= {"eval_length": eval_length, "n_seeds": 0, "n_documents": 0, "n_tokens": 0}
            if status == "ok":
                row |= numbers.get(eval_length, {}) | matches.get((*line, eval_length), {})
            dtype = "+".join(sorted({each["dtype"] for each in of_seeds}))
            rows.append(row | {"dtype": dtype, "status": status, "reason": reason})
    return sort(pd.DataFrame(rows, columns=list(SUMMARY)).pipe(_whole))


def positions_over_seeds(positions: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of each bin of positions.csv, with the bounds of intervals.of_bins."""
    keys = [*GROUP, "scheme", "eval_length", "position", "position_end"]
    return sort(_over_seeds(positions, keys).reset_index())


def _over_seeds(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Indexed by the keys."""
    widths = table.assign(square=(table["high"] - table["low"]) ** 2)
    means = widths.groupby(keys, sort=False).agg(
        value=("value", "mean"),
        low=("low", "mean"),
        high=("high", "mean"),
        n_seeds=("run", "nunique"),
        n_documents=("n_documents", "max"),
        n_tokens=("n_tokens", "max"),
        between=("value", "var"),
        square=("square", "mean"),
    )
    several = means["n_seeds"] > 1
    if several.any():
        columns = means[several].assign(width=np.sqrt(means["square"]))
        columns = columns[["value", "between", "width", "n_seeds", "n_documents"]]
        means.loc[several, ["low", "high"]] = intervals.of_bins(*columns.to_numpy(np.float64).T).T
    return means.drop(columns=["between", "square"])


def _matches(lengths: pd.DataFrame) -> dict[tuple, dict[str, float]]:
    """(*line, eval_length) -> exact match over seeds and its interval, where rows have it."""
    rows = lengths[(lengths["metric"] == "exact_match") & lengths["value"].notna()]
    if rows.empty:
        return {}
    keys = [*LINE, "eval_length"]
    # Wilson's interval leans inwards, a mean's does not: of several seeds its longer side is taken.
    side = np.maximum(rows["value"] - rows["low"], rows["high"] - rows["value"])
    means = _over_seeds(rows.assign(low=rows["value"] - side, high=rows["value"] + side), keys)
    wilson = rows.groupby(keys, sort=False)[["low", "high"]].mean()
    bounds = means[["low", "high"]].where(means["n_seeds"] > 1, wilson).clip(0.0, 1.0)
    columns = zip(means["value"], bounds["low"], bounds["high"], strict=True)
    names = ends("exact_match")
    return {
        key: dict(zip(names, values, strict=True))
        for key, values in zip(means.index, columns, strict=True)
    }


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
    """The published folders under `results`, by name: sealed, or with all tables of a summary."""
    return sorted(
        folder
        for folder in Path(results).glob("[!.]*")
        if folder.name not in ("runs", "figures")
        and (
            seals.is_sealed(folder)
            or all((folder / f"{name}.csv").is_file() for name in records.TABLES)
        )
    )


def sort(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by every column from the left but results (floats), schemes in the palette's order."""
    keys = [column for column in table.columns if column in TEXT | WHOLE]
    if "scheme" not in keys or table.empty:
        return table.reset_index(drop=True)
    schemes = sorted(table["scheme"].unique(), key=palette.order)
    ranks = {scheme: rank for rank, scheme in enumerate(schemes)}
    first = [*GROUP, "protocol", "scheme", "seed", "eval_length"]
    keys = [key for key in first if key in keys] + [key for key in keys if key not in first]
    # A stable sort by ranks: the names themselves would come in alphabetical order.
    ranked = table.assign(scheme=table["scheme"].map(ranks)).sort_values(keys, kind="stable")
    return table.loc[ranked.index].reset_index(drop=True)


def _line_numbers(rows: pd.DataFrame, line: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """eval_length -> the numbers of a summary row."""
    losses, train_length = Losses.of_rows(rows), line["train_length"]
    loss = losses.means()
    with np.errstate(over="ignore"):  # a loss beyond 709 nats: its perplexity is infinite
        perplexity = Means(*(np.exp(values) for values in (loss.value, loss.low, loss.high)))
    columns = _columns("loss", loss) | _columns("perplexity", perplexity)
    columns["bits_per_byte"] = losses.bits_per_byte()
    if line["protocol"] == "matched" and train_length in losses.lengths:
        columns |= _columns("loss_change", losses.changes(train_length))
    if losses.floor_sum is not None:
        columns |= _columns("excess", losses.excess().means())
    table, below = losses.bigram(), losses.below_bigram()
    if table is not None and below is not None:
        columns["bigram"] = table.means().value
        columns |= _columns("below_bigram", below.means())
    numbers = {}
    for a, eval_length in enumerate(losses.lengths):
        n_tokens = losses.n_tokens[:, a]  # (S, D)
        numbers[eval_length] = {
            "n_seeds": int((n_tokens > 0).any(axis=1).sum()),
            "n_documents": int((n_tokens > 0).any(axis=0).sum()),
            "n_tokens": int(n_tokens.sum(axis=1).max()),
        } | {name: values[a] for name, values in columns.items()}
    return numbers


def _columns(name: str, means: Means) -> dict[str, np.ndarray]:
    return dict(zip(ends(name), (means.value, means.low, means.high), strict=True))


def _status(of_seeds: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """(status, reason) of one line at one length."""
    failed = [row for row in of_seeds if row["status"] != "ok"]
    if not failed:  # what they say is a warning
        return "ok", "; ".join(dict.fromkeys(row["reason"] for row in of_seeds if row["reason"]))
    reasons = "; ".join(dict.fromkeys(row["reason"] for row in failed))
    wrong = [row["status"] for row in failed if row["status"] in ("nonfinite", "leak")]
    if len(failed) == len(of_seeds):
        return (wrong or [failed[0]["status"]])[0], reasons
    seeds = ", ".join(str(seed) for seed in sorted(row["seed"] for row in failed))
    return (wrong or ["ok"])[0], f"seed {seeds}: {reasons}"


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    kinds = {column: str if column in TEXT else np.float64 for column in columns}
    # A document called NA is not a missing value.
    empty = {column: [""] for column in columns if column not in TEXT}
    try:
        table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=empty)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"cannot read {path}: {reason}; expected a table of lengthgen: evaluate the run again"
        ) from error
    missing = [column for column in columns if column not in table and column not in OPTIONAL]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}; expected a table of lengthgen: "
            "evaluate the run again"
        )
    return table.reindex(columns=list(columns))


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """Counts as integers (nullable ones where one is missing), results as float64."""
    kinds = {
        c: ("Int64" if table[c].isna().any() else np.int64) for c in table.columns if c in WHOLE
    }
    return table.astype(kinds | {c: np.float64 for c in table.columns if c not in TEXT | WHOLE})


def write_table(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """The columns of a table, in `sort`'s order, as CSV, without optional ones that are empty."""
    kept = [column for column in columns if column not in OPTIONAL or table[column].notna().any()]
    text = sort(table[kept]).to_csv(
        index=False, lineterminator="\n", float_format=files.FLOAT_FORMAT
    )
    files.write_text(path, text)


def write_or_remove(path: Path, table: pd.DataFrame | None, columns: Sequence[str]) -> list[Path]:
    """Write a table that has rows; remove the old file of one that has none. Returns the files."""
    if table is None or table.empty:
        path.unlink(missing_ok=True)
        return []
    write_table(path, table, columns)
    return [path]
