"""One table, four ways to write it: aligned text for a terminal, Markdown, LaTeX (booktabs), HTML.

A table is a head, rows of text cells, and an alignment: `l` or `r` for each column, the last letter
repeated as often as it takes. How a number and its interval become a cell is here too.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, TypeVar

WIDTH = 140  # characters of an aligned table
Row = TypeVar("Row", bound=Mapping[str, Any])
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"−": "$-$", "×": r"$\times$"}
)


def aligned(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    wrapped: Mapping[int, int] | None = None,
    width: int = WIDTH,
) -> str:
    """Columns for a terminal of `width` characters; a cell may hold several lines.

    wrapped: column -> most characters; the last gets what is left.
    """
    limits = dict(wrapped or {})
    last = len(head) - 1
    cells = [[cell.split("\n") for cell in row] for row in [head, *rows]]
    others = [
        min(limits.get(column, width), max(len(line) for row in cells for line in row[column]))
        for column in range(last)
    ]
    limits[last] = max(20, width - sum(others) - 2 * last)
    table = [
        [_wrapped(lines, limits[i]) if i in limits else lines for i, lines in enumerate(row)]
        for row in cells
    ]
    widths = [max(len(line) for row in table for line in row[i]) for i in range(len(head))]
    lines = []
    for number, row in enumerate(table):
        for part in range(max(len(cell) for cell in row)):
            texts = [cell[part] if part < len(cell) else "" for cell in row]
            padded = (text.ljust(width) for text, width in zip(texts, widths, strict=True))
            lines.append("  ".join(padded).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, width) or [""]]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], alignment: str = "l") -> list[str]:
    """The lines of a Markdown table."""
    rules = {"l": "---|", "r": "---:|"}
    return [
        "|" + "".join(f" {cell} |" if cell else " |" for cell in head),
        "|" + "".join(rules[side] for side in _sides(head, alignment)),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def latex(head: Sequence[str], rows: Iterable[Sequence[str]], alignment: str = "l") -> list[str]:
    """The lines of a tabular with booktabs' rules. Cells are escaped."""

    def line(row: Sequence[str]) -> str:
        return " & ".join(cell.translate(LATEX) for cell in row) + r" \\"

    return [
        rf"\begin{{tabular}}{{{_sides(head, alignment)}}}",
        r"\toprule",
        line(head),
        r"\midrule",
        *map(line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def html(head: Sequence[str], rows: Iterable[Sequence[str]], alignment: str = "l") -> list[str]:
    """The lines of an HTML table. Cells are escaped."""
    styles = {"l": "", "r": ' style="text-align:right"'}
    attributes = [styles[side] for side in _sides(head, alignment)]

    def line(row: Sequence[str], tag: str) -> str:
        cells = zip(row, attributes, strict=True)
        return (
            f"<tr>{''.join(f'<{tag}{style}>{escape(cell)}</{tag}>' for cell, style in cells)}</tr>"
        )

    body = (line(row, "td") for row in rows)
    return [
        "<table>",
        f"<thead>{line(head, 'th')}</thead>",
        "<tbody>",
        *body,
        "</tbody>",
        "</table>",
    ]


def by_length(
    rows: Iterable[Row], name: Callable[[Row], str], cell: Callable[[Row], str], corner: str = ""
) -> list[str]:
    """Markdown: a line for each name, in their order, and a column for each evaluation length."""
    cells = {(name(row), int(row["eval_length"])): cell(row) for row in rows}
    lengths = sorted({length for _, length in cells})
    lines = (
        [name, *(cells.get((name, length), "") for length in lengths)]
        for name in dict.fromkeys(name for name, _ in cells)
    )
    return markdown([corner, *map(str, lengths)], lines, "lr")


def interval(value: float, low: float, high: float, write: Callable[[float], str]) -> str:
    """`value [low, high]`; the value alone without an interval, nothing where it is NaN."""
    if math.isnan(value):
        return ""
    return write(value) if math.isnan(low) else f"{write(value)} [{write(low)}, {write(high)}]"


def number(value: float) -> str:
    """Three decimals, or an exponent for what would be 0.000; nothing for NaN."""
    if math.isnan(value):
        return ""
    return f"{value:.2e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"


def span(values: Iterable[float]) -> str:
    """The least and the greatest of some counts: `3`, or `3 to 10`; 0 for none."""
    counts = [int(value) for value in values] or [0]
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def count(tokens: float) -> str:
    """A number of tokens, short: 30k, 1.2M."""
    return f"{tokens / 1e6:.2g}M" if tokens >= 1e6 else f"{tokens / 1e3:.0f}k"


def p_value(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _sides(head: Sequence[str], alignment: str) -> str:
    return alignment.ljust(len(head), alignment[-1])
