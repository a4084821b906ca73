"""Cells and grids of a study's Markdown, from rows of text. Nats a token."""

from collections.abc import Callable, Mapping, Sequence

from lengthgen.reporting import text_tables

Row = Mapping[str, str]


def grid(rows: Sequence[Row], name: Callable[[Row], str], column: str) -> list[str]:
    """A line for each name, a column for each evaluation length."""
    lengths = sorted({int(row["eval_length"]) for row in rows})
    cells = {(name(row), int(row["eval_length"])): interval(row, column) for row in rows}
    return text_tables.grid(cells, dict.fromkeys(name(row) for row in rows), lengths)


def interval(row: Row, column: str = "value") -> str:
    if row.get("status", "ok") != "ok":
        return row["status"].partition("(")[2].partition(":")[0] or "none"
    value = number(row[column])
    return f"{value} [{number(row['low'])}, {number(row['high'])}]" if row["low"] else value


def number(text: str) -> str:
    if not text:
        return ""
    value = float(text)
    return f"{value:.2e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"


def p_value(text: str) -> str:
    value = float(text or "nan")
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"
