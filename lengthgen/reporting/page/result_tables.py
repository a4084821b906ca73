"""Tables of one set-up: schemes down, evaluation lengths across, intervals and words in cells."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from lengthgen.reporting import tables
from lengthgen.reporting.figures import palette
from lengthgen.reporting.page import numbers, words
from lengthgen.reporting.page.content import Cell, Table

Row = Mapping[str, Any]
FINE = 0.002  # what is smaller, with its interval, has a fourth decimal


def decision(summary: pd.DataFrame, verdict_rows: pd.DataFrame, name: str) -> Table:
    """The loss at the training length; the change and the word at every other length."""
    rows = summary[summary["protocol"] == "matched"]
    train_length = int(rows["train_length"].iloc[0])
    said = {
        (row["scheme"], int(row["eval_length"])): words.shown(row["word"])
        for row in tables.as_rows(verdict_rows)
    }

    def cell(row: Row) -> Cell:
        length = int(row["eval_length"])
        if row["status"] != "ok":
            return Cell(words.shown(row["status"]), note=str(row["reason"] or ""))
        if length == train_length:
            return _measured(row, "loss")
        word = said.get((row["scheme"], length), "")
        return _measured(row, "loss_change", sign=True, word=word)

    caption = (
        f"{name}: the loss at {train_length:,} tokens and its change at every other length, "
        "with 95 % intervals and the word for each"
    )
    note = (
        "Nats per token, matched protocol: the same targets at every length. Intervals are not "
        "corrected for the number of cells."
    )
    return _by_length(rows, cell, caption, note, train_length)


def measured(summary: pd.DataFrame, protocol: str, metric: str, title: str, name: str) -> Table:
    """One metric under one protocol."""
    rows = summary[summary["protocol"] == protocol]
    train_length = int(rows["train_length"].iloc[0])

    def cell(row: Row) -> Cell:
        if row["status"] != "ok":
            return Cell(words.shown(row["status"]), note=str(row["reason"] or ""))
        return _measured(row, metric)

    return _by_length(rows, cell, f"{name}: {title}, {protocol}", "", train_length)


def _measured(row: Row, metric: str, sign: bool = False, word: str = "") -> Cell:
    value, low, high = (float(row.get(end, math.nan)) for end in tables.ends(metric))
    if math.isnan(value):
        return Cell("", word=word)
    decimals = 3 if max(abs(value), abs(high - low)) >= FINE or not value else 4
    return Cell(
        numbers.number(value, decimals, sign), numbers.interval(low, high, decimals), word=word
    )


def _by_length(
    rows: pd.DataFrame, cell: Callable[[Row], Cell], caption: str, note: str, train_length: int
) -> Table:
    cells = {(row["scheme"], int(row["eval_length"])): cell(row) for row in tables.as_rows(rows)}
    lengths = sorted({length for _, length in cells})
    names = sorted({scheme for scheme, _ in cells}, key=palette.order)
    lines = [
        [Cell(name, code=True), *(cells.get((name, length), Cell()) for length in lengths)]
        for name in names
    ]
    head = ["scheme", *(_heading(length, train_length) for length in lengths)]
    return Table(caption, head, lines, frozenset(range(1, len(head))), note)


def _heading(length: int, train_length: int) -> str:
    """`1,024 (2×)`."""
    return f"{length:,} ({length / train_length:.3g}×)"
