"""Tables in files: their columns and types, the order of their rows, and CSV that is the same bytes
again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.reporting.figures import palette

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


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table with its columns' types: a hash of digits stays text. DataError if it is another."""
    return with_types(read_as_written(path, columns))


def read_as_written(path: Path, columns: Sequence[str]) -> pd.DataFrame:
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


def with_types(table: pd.DataFrame) -> pd.DataFrame:
    """Counts as integers (nullable ones where one is missing), results as float64."""
    kinds = {
        c: ("Int64" if table[c].isna().any() else np.int64) for c in table.columns if c in WHOLE
    }
    return table.astype(kinds | {c: np.float64 for c in table.columns if c not in TEXT | WHOLE})


def as_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], table.to_dict("records"))


def matching(table: pd.DataFrame, columns: Sequence[str], row: Mapping[str, Any]) -> np.ndarray:
    """Which rows of a table agree with `row` in these columns, as bool."""
    return np.logical_and.reduce([table[name] == row[name] for name in columns])


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
        files.remove(path)
        return []
    write_table(path, table, columns)
    return [path]
