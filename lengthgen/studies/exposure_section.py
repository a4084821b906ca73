"""The section of a study's page about how often training reached each positional entry."""

import math
from collections.abc import Sequence

from lengthgen.reporting import text_tables
from lengthgen.studies.sections import section
from lengthgen.studies.study_folder import Row

TEXT = """Counted exactly, over a whole training: query-key pairs whose bias reads an entry (by
offset), or loss terms that the code of a position can influence (by position). Whatever reads no
trained entry beyond the training length keeps its first value, or what the scheme's tail says."""


def lines(rows: Sequence[Row]) -> list[str]:
    """Markdown; [] without rows of exposure.csv."""
    if not rows:
        return []
    table = [
        [
            row["subject"],
            row["by"],
            str(row["entries"]),
            _reached(row, "most"),
            _reached(row, "fewest"),
            str(row["unread_entries"]),
            _places(row, "beyond") or "none",
        ]
        for row in rows
    ]
    head = [
        "arm", "by", "entries", "most often", "least often", "never read in training",
        "places that read no trained entry",
    ]  # fmt: skip
    text = " ".join(TEXT.split())
    return section("Exposure", text, text_tables.markdown(head, table, "llr"))


def _reached(row: Row, which: str) -> str:
    """`1,536,000 (0)`: the terms, and the offsets or positions that read the entry."""
    return f"{row[which]:,.0f} ({_places(row, which)})"


def _places(row: Row, which: str) -> str:
    first, last = row[f"{which}_first"], row[f"{which}_last"]
    return "" if math.isnan(first) else f"{first:,}" if first == last else f"{first:,} to {last:,}"
