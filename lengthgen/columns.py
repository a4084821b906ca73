"""Columns of text under their heads, for the terminal."""

import textwrap
from collections.abc import Mapping, Sequence

WIDTH = 140  # of the whole table


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], wrapped: Mapping[int, int] | None = None) -> str:
    """Columns of text under their heads. `wrapped`: column -> its greatest width; the last column takes what WIDTH leaves."""
    wrapped = dict(wrapped or {})
    last = len(head) - 1
    others = [min(wrapped.get(column, WIDTH), max(len(row[column]) for row in [head, *rows])) for column in range(last)]
    wrapped[last] = max(20, WIDTH - sum(others) - 2 * last)
    table = [[textwrap.wrap(cell, wrapped[i]) or [""] if i in wrapped else [cell] for i, cell in enumerate(row)] for row in [head, *rows]]
    widths = [max(len(line) for row in table for line in row[column]) for column in range(len(head))]
    lines = []
    for number, row in enumerate(table):
        for part in range(max(len(cell) for cell in row)):
            texts = [cell[part] if part < len(cell) else "" for cell in row]
            lines.append("  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)
