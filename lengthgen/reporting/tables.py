"""Tidy tables over many runs: gathered from run folders, summed up over seeds, published for the README. Knows no torch.

A published folder, results/<name>/, holds lengths.csv, documents.csv, positions.csv, summary.csv and provenance.json: all that
its figures and numbers need, small enough to commit, written in a fixed order so that the same runs give the same bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation import records
from lengthgen.reporting.figures import palette
from lengthgen.statistics import bootstrap, intervals
from lengthgen.statistics.losses import Losses, Means

# What one figure is about, and then one line of it.
GROUP = ("dataset", "model", "train_length", "steps", "setting", "evaluation")
LINE = (*GROUP, "protocol", "scheme")
# One row for each line and eval_length. loss and its bounds in nats/token, over all seeds;
# n_tokens: scored tokens of one seed. loss_change: from train_length, paired (same targets),
# matched protocol only. status and reason: as in lengths.csv. excess: over the exact floor of the
# same tokens, for data that have one. exact_match: a share of documents, for data with answers.
SUMMARY = (
    *LINE, "eval_length", "n_seeds", "n_documents", "n_tokens", "loss", "loss_low", "loss_high",
    "perplexity", "perplexity_low", "perplexity_high", "bits_per_byte",
    "loss_change", "loss_change_low", "loss_change_high", "dtype", "status", "reason", "excess", "excess_low", "excess_high",
    "exact_match", "exact_match_low", "exact_match_high",
)  # fmt: skip
ADDED = (
    "excess",
    "excess_low",
    "excess_high",
    "exact_match",
    "exact_match_low",
    "exact_match_high",
)  # not known of all data
OPTIONAL = {"floor_sum", *ADDED}  # written where a row has one; tables without them still read
TEXT = {
    "run", "scheme", "dataset", "model", "setting", "evaluation", "protocol", "metric", "document", "dtype", "status", "reason", "targets",
}  # fmt: skip
WHOLE = {
    "seed",
    "train_length",
    "steps",
    "eval_length",
    "position",
    "position_end",
    "n_seeds",
    "n_documents",
    "n_tokens",
    "n_bytes",
}


@dataclass(frozen=True)
class Tables:
    """The rows of many evaluations, with the columns of records.LENGTHS, DOCUMENTS and POSITIONS."""

    lengths: pd.DataFrame
    documents: pd.DataFrame
    positions: pd.DataFrame


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table with its columns' types: hashes and names stay text, whatever they look like.

    DataError if it is not that table.
    """
    return _whole(_read(path, columns))


def collect(results: Path | str) -> Tables:
    """The tables of every finished evaluation under results/runs, one after another.

    Empty tables if there is none.
    """
    return read_evaluations(folder for run in records.runs(results) for folder in run.evaluations)


def read_evaluations(folders: Iterable[Path]) -> Tables:
    """The tables of the evaluations in `folders`."""
    folders = list(folders)
    found = {}
    for name, columns in records.TABLES.items():
        parts = [
            part
            for part in (_read(folder / f"{name}.csv", columns) for folder in folders)
            if len(part)
        ]
        found[name] = (
            _whole(pd.concat(parts, ignore_index=True))
            if parts
            else pd.DataFrame(columns=list(columns))
        )
    return Tables(**found)


def select(tables: Tables, where: Mapping[str, Sequence[str]]) -> Tables:
    """The rows whose identity columns have one of the given values (compared as text)."""

    def chosen(table: pd.DataFrame) -> pd.DataFrame:
        for column, values in where.items():
            table = table[table[column].astype(str).isin(list(values))]
        return table

    return Tables(chosen(tables.lengths), chosen(tables.documents), chosen(tables.positions))


def summarise(
    documents: pd.DataFrame,
    lengths: pd.DataFrame,
    *,
    n_resamples: int = bootstrap.N_RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Over seeds: one row with the columns of SUMMARY for each line and eval_length, in the palette's order.

    Intervals: 95 %, over seeds and documents, or documents alone with one seed (evaluation/intervals.py). A length for which no
    seed has a value is a row with its status and reason; one where some have none is estimated from the others and says so, except that
    a non-finite loss (or a leak) of any seed leaves no value: a mean over the seeds that survived would flatter the scheme.
    """
    stated: dict[
        tuple, dict[int, list[dict]]
    ] = {}  # line -> eval_length -> one row of lengths.csv for each seed
    for row in lengths[lengths["metric"] == "loss"].to_dict("records"):
        stated.setdefault(tuple(row[column] for column in LINE), {}).setdefault(
            row["eval_length"], []
        ).append(row)
    scored, matches = (
        {key: rows for key, rows in documents.groupby(list(LINE), sort=False)},
        _matches(lengths),
    )
    rows = []
    for line, at_length in stated.items():
        numbers = _line_numbers(scored[line], line, n_resamples, seed) if line in scored else {}
        for eval_length, of_seeds in at_length.items():
            status, reason = _status(of_seeds)
            row = dict.fromkeys(SUMMARY) | dict(zip(LINE, line, strict=True))
            row |= {"eval_length": eval_length, "n_seeds": 0, "n_documents": 0, "n_tokens": 0}
            row |= (
                numbers.get(eval_length, {}) | matches.get((*line, eval_length), {})
                if status == "ok"
                else {}
            )
            rows.append(
                row
                | {
                    "dtype": "+".join(sorted({row["dtype"] for row in of_seeds})),
                    "status": status,
                    "reason": reason,
                }
            )
    return sort(pd.DataFrame(rows, columns=list(SUMMARY)).pipe(_whole))


def positions_over_seeds(positions: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of each bin: GROUP, scheme, eval_length, position, position_end, value, low, high, n_seeds, n_documents, n_tokens.

    The bounds hold for new seeds and new documents (intervals.of_bins); with one seed they are that seed's own.
    """
    return sort(
        _over_seeds(
            positions, [*GROUP, "scheme", "eval_length", "position", "position_end"]
        ).reset_index()
    )


def _over_seeds(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Mean over seeds of rows that have a value with its interval over documents.

    Indexed by the keys.
    """
    means = table.assign(square=(table["high"] - table["low"]) ** 2).groupby(keys, sort=False).agg(
        value=("value", "mean"), low=("low", "mean"), high=("high", "mean"), n_seeds=("run", "nunique"),
        n_documents=("n_documents", "max"), n_tokens=("n_tokens", "max"), between=("value", "var"), square=("square", "mean"),
    )  # fmt: skip
    several = means["n_seeds"] > 1
    if several.any():
        columns = means[several].assign(width=np.sqrt(means["square"]))[
            ["value", "between", "width", "n_seeds", "n_documents"]
        ]
        means.loc[several, ["low", "high"]] = intervals.of_bins(*columns.to_numpy(np.float64).T).T
    return means.drop(columns=["between", "square"])


def _matches(lengths: pd.DataFrame) -> dict[tuple, dict[str, float]]:
    """(*line, eval_length) -> exact match over seeds and its interval, where rows have it.

    Wilson's interval leans inwards, a mean's does not: of several seeds its longer side is taken
    for both.
    """
    rows = lengths[(lengths["metric"] == "exact_match") & lengths["value"].notna()]
    if rows.empty:
        return {}
    keys = [*LINE, "eval_length"]
    side = np.maximum(rows["value"] - rows["low"], rows["high"] - rows["value"])
    means = _over_seeds(rows.assign(low=rows["value"] - side, high=rows["value"] + side), keys)
    own = rows.groupby(keys, sort=False)[["low", "high"]].mean()
    ends = means[["low", "high"]].where(means["n_seeds"] > 1, own).clip(0.0, 1.0)
    return {
        key: {"exact_match": value, "exact_match_low": low, "exact_match_high": high}
        for key, value, low, high in zip(
            means.index, means["value"], ends["low"], ends["high"], strict=True
        )
    }


def publish(tables: Tables, folder: Path | str, note: Mapping[str, Any]) -> pd.DataFrame:
    """Write a published folder; returns the summary. `note` becomes provenance.json.

    The same tables give the same bytes.
    """
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
    """The published folders under `results`, by name: those with all the tables that a summary is made from."""
    folders = (
        path
        for path in Path(results).glob("*")
        if path.is_dir() and path.name not in ("runs", "figures")
    )
    return sorted(
        folder
        for folder in folders
        if all((folder / f"{name}.csv").is_file() for name in records.TABLES)
    )


def sort(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in a fixed order: by every column from the left, schemes in the palette's order, results (floats) not considered."""
    keys = [column for column in table.columns if column in TEXT | WHOLE]
    if "scheme" not in keys or table.empty:
        return table.reset_index(drop=True)
    ranks = {
        scheme: rank
        for rank, scheme in enumerate(sorted(table["scheme"].unique(), key=palette.order))
    }
    first = [*GROUP, "protocol", "scheme", "seed", "eval_length"]
    keys = [key for key in first if key in keys] + [key for key in keys if key not in first]
    ranked = table.assign(scheme=table["scheme"].map(ranks)).sort_values(keys, kind="stable")
    return table.loc[ranked.index].reset_index(drop=True)


def _line_numbers(
    rows: pd.DataFrame, line: tuple, n_resamples: int, seed: int
) -> dict[int, dict[str, Any]]:
    """eval_length -> the numbers of one summary row, for one scheme under one protocol."""
    losses = Losses.of_rows(rows)
    loss_sum, n_tokens, n_bytes = losses.loss_sum, losses.n_tokens, losses.n_bytes
    loss = losses.means(n_resamples, seed)
    with np.errstate(over="ignore"):  # a loss beyond 709 nats: its perplexity is infinite
        perplexity = [np.exp(values) for values in (loss.value, loss.low, loss.high)]
    other, named = {}, dict(zip(LINE, line, strict=True))
    if named["protocol"] == "matched" and named["train_length"] in losses.lengths:
        other |= _columns("loss_change", losses.changes(named["train_length"], n_resamples, seed))
    if losses.floor_sum is not None:
        other |= _columns("excess", losses.excess().means(n_resamples, seed))
    numbers = {}
    for a, eval_length in enumerate(losses.lengths):
        scored = n_tokens[:, a] > 0  # (S, D)
        bits = loss_sum[:, a].sum() / np.log(2)
        numbers[eval_length] = {
            "n_seeds": int(scored.any(axis=1).sum()),
            "n_documents": int(scored.any(axis=0).sum()),
            "n_tokens": int(n_tokens[:, a].sum(axis=1).max()),
            "loss": loss.value[a], "loss_low": loss.low[a], "loss_high": loss.high[a],
            "perplexity": perplexity[0][a], "perplexity_low": perplexity[1][a], "perplexity_high": perplexity[2][a],
            "bits_per_byte": bits / n_bytes[:, a].sum() if n_bytes[:, a].sum() else np.nan,
        } | {name: values[a] for name, values in other.items()}  # fmt: skip
    return numbers


def _columns(name: str, means: Means) -> dict[str, np.ndarray]:
    return {name: means.value, f"{name}_low": means.low, f"{name}_high": means.high}


def _status(of_seeds: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """(status, reason) of one line at one length, over its seeds' rows of lengths.csv."""
    failed = [row for row in of_seeds if row["status"] != "ok"]
    if not failed:
        return "ok", ""
    reasons = "; ".join(dict.fromkeys(row["reason"] for row in failed))
    whole = len(failed) == len(of_seeds)
    wrong = [row["status"] for row in failed if row["status"] in ("nonfinite", "leak")]
    status = wrong[0] if wrong else failed[0]["status"] if whole else "ok"
    return (
        status,
        reasons
        if whole
        else f"seed {', '.join(str(seed) for seed in sorted(row['seed'] for row in failed))}: {reasons}",
    )


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    kinds = {column: str if column in TEXT else np.float64 for column in columns}
    empty = {
        column: [""] for column in columns if column not in TEXT
    }  # a document called NA is not a missing value
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
            f"{path} lacks the columns {', '.join(missing)}; expected a table of lengthgen: evaluate the run again"
        )
    return table.reindex(columns=list(columns))


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """Counts as integers (nullable ones where one is missing), results as float64."""
    kinds = {
        c: ("Int64" if table[c].isna().any() else np.int64) for c in table.columns if c in WHOLE
    }
    return table.astype(kinds | {c: np.float64 for c in table.columns if c not in TEXT | WHOLE})


def write_table(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """The columns of a table, in `sort`'s order, as CSV.

    Optional ones that are empty are left out.
    """
    kept = [column for column in columns if column not in OPTIONAL or table[column].notna().any()]
    text = sort(table[kept]).to_csv(
        index=False, lineterminator="\n", float_format=files.FLOAT_FORMAT
    )
    files.write_text(path, text)
