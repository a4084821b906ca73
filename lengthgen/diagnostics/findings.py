"""What a diagnostic finds: tidy tables whose columns say what they mean, and sentences that read the numbers and claim no more."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """Becomes NAME.csv. columns: name -> its meaning and unit, in the order of the file; a row has exactly these."""

    name: str
    columns: Mapping[str, str]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Finding:
    """Of one diagnostic. skipped: why it has no tables, in one line."""

    tables: list[Table] = field(default_factory=list)
    reading: list[str] = field(default_factory=list)
    skipped: str = ""


def span_of(values) -> str:
    """`0.12 to 3.4` of some numbers; one number where all print alike."""
    low, high = (
        f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        for value in (min(values), max(values))
    )
    return low if low == high else f"{low} to {high}"
