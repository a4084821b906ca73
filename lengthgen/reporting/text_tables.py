"""Columns of text under their heads: for the terminal, and as Markdown."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

WIDTH = 140  # of the whole table


def aligned(
    head: Sequence[str], rows: Sequence[Sequence[str]], wrapped: Mapping[int, int] | None = None
) -> str:
    """Columns of text under their heads. `wrapped`: column -> its greatest width; the last column takes what WIDTH leaves."""
    wrapped = dict(wrapped or {})
    last = len(head) - 1
    others = [
        min(wrapped.get(column, WIDTH), max(len(row[column]) for row in [head, *rows]))
        for column in range(last)
    ]
    wrapped[last] = max(20, WIDTH - sum(others) - 2 * last)
    table = [
        [
            textwrap.wrap(cell, wrapped[i]) or [""] if i in wrapped else [cell]
            for i, cell in enumerate(row)
        ]
        for row in [head, *rows]
    ]
    widths = [
        max(len(line) for row in table for line in row[column]) for column in range(len(head))
    ]
    lines = []
    for number, row in enumerate(table):
        for part in range(max(len(cell) for cell in row)):
            texts = [cell[part] if part < len(cell) else "" for cell in row]
            lines.append(
                "  ".join(
                    text.ljust(width) for text, width in zip(texts, widths, strict=True)
                ).rstrip()
            )
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], sides: str) -> list[str]:
    """The lines of a Markdown table. sides: `l` or `r` for each column, `lr` to repeat the last one as often as it takes."""
    sides = sides.ljust(len(head), sides[-1])
    lines = [
        "|" + "".join(f" {cell} |" if cell else " |" for cell in head),
        "|" + "".join("---:|" if s == "r" else "---|" for s in sides),
    ]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def grid(
    cells: Mapping[tuple[str, int], str],
    names: Iterable[str],
    lengths: Sequence[int],
    corner: str = "",
) -> list[str]:
    """A Markdown table: a line for each name, a column for each length, empty where there is no cell."""
    rows = ([name, *(cells.get((name, length), "") for length in lengths)] for name in names)
    return markdown([corner, *map(str, lengths)], rows, "lr")
