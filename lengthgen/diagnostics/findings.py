"""What a diagnostic finds: tables with explained columns, and sentences that read them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Table:
    """Becomes NAME.csv. columns: name -> meaning and unit; a row has exactly these."""

    name: str
    columns: Mapping[str, str]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Finding:
    """Of one diagnostic. skipped: why it has no tables, in one line; no_room: for want of memory,
    which there may be another time.
    """

    tables: list[Table] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    skipped: str = ""
    no_room: bool = False


def range_of(values: Iterable[float]) -> str:
    """`0.12 to 3.4`, or one number where both ends print alike."""
    values = list(values)
    low, high = (
        f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        for value in (min(values), max(values))
    )
    return low if low == high else f"{low} to {high}"


def log_spaced(length: int, points: int) -> list[int]:
    """Whole numbers 1..length, ascending, at most `points`, evenly spaced in their logarithm."""
    return sorted({int(j) for j in np.geomspace(1, length, points).round()})
