"""Length curves in the forms that dashboards want, from the rows of lengths.csv.

`eval/<protocol>/<metric>` is a curve against `eval/length`; `eval/<protocol>/<metric>@<length>` a
point of it as a summary scalar, the length in six digits (`eval/matched/loss@001024`), so that a
table of runs sorts its columns by length. `eval/matched/word@<length>` is the run's own word there:
fails, tolerates, uses, undecided, ...
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

INTEGERS = frozenset(("seed", "train_length", "steps", "eval_length", "n_tokens", "n_documents"))
FLOATS = frozenset(("value", "low", "high"))


def plain(rows: Sequence[Mapping]) -> list[dict[str, Any]]:
    """Numbers as numbers and empty cells as None: rows from memory or a CSV file."""
    return [{column: _cell(column, value) for column, value in row.items()} for row in rows]


def table(rows: Sequence[Mapping]) -> tuple[list[str], list[list]]:
    """(columns, data) of all rows, those of refused and failed lengths included."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return columns, [[row.get(column) for column in columns] for row in rows]


def scalars(rows: Sequence[Mapping]) -> dict[str, float]:
    """One number for each protocol, metric and length that was measured."""
    return {f"{_name(row)}@{row['eval_length']:06d}": row["value"] for row in _measured(rows)}


def words(rows: Sequence[Mapping]) -> dict[str, str]:
    """The word for each protocol and length that has one."""
    return {
        f"eval/{row['protocol']}/word@{row['eval_length']:06d}": row["word"]
        for row in _measured(rows)
        if row.get("word")
    }


def points(rows: Sequence[Mapping]) -> list[dict[str, float]]:
    """One dict for each length, rising: {"eval/length": 1024, "eval/matched/loss": 2.1, ...}."""
    by_length: dict[int, dict[str, float]] = {}
    for row in _measured(rows):
        length = row["eval_length"]
        by_length.setdefault(length, {"eval/length": length})[_name(row)] = row["value"]
    return [by_length[length] for length in sorted(by_length)]


def lines(rows: Sequence[Mapping], metric: str) -> dict[str, tuple[list[int], list[float]]]:
    """{protocol: (lengths, values)} of one metric, lengths rising."""
    curves: dict[str, dict[int, float]] = {}
    for row in _measured(rows):
        if row["metric"] == metric:
            curves.setdefault(row["protocol"], {})[row["eval_length"]] = row["value"]
    return {
        protocol: (sorted(curve), [curve[length] for length in sorted(curve)])
        for protocol, curve in sorted(curves.items())
    }


def _name(row: Mapping) -> str:
    return f"eval/{row['protocol']}/{row['metric']}"


def _measured(rows: Sequence[Mapping]) -> list[Mapping]:
    return [row for row in rows if row["status"] == "ok" and row["value"] is not None]


def _cell(column: str, value: Any) -> Any:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if column in INTEGERS:
        return int(value)
    return float(value) if column in FLOATS else str(value)
