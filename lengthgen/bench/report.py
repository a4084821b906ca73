"""What a benchmark leaves: a table on the screen and, under --out, CSV, Markdown, every sample, the facts and a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.bench import environment
from lengthgen.bench.measuring import Measured

SAMPLES = ("bench", "candidate", "round", "place", "wall_seconds", "cpu_seconds", "peak_bytes")


def markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A Markdown table, readable as it stands; columns that are empty in every row are left out."""
    columns = [
        column for column in columns if any(row.get(column) not in (None, "") for row in rows)
    ]
    cells = [
        [column.replace("_", " ") for column in columns],
        *([_text(row.get(column)) for column in columns] for row in rows),
    ]
    numeric = [
        all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns
    ]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(columns))]
    rule = [
        "-" * (width - 1) + (":" if right else "-")
        for width, right in zip(widths, numeric, strict=True)
    ]
    lines = []
    for line in (cells[0], rule, *cells[1:]):
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        lines.append("| " + " | ".join(padded) + " |")
    return "\n".join(lines)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return str(value).replace("|", "\\|")
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def save(
    folder: Path,
    stem: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    shown: Sequence[str],
    facts: Mapping[str, Any],
    samples: Mapping[str, Measured] | None = None,
) -> list[Path]:
    """Write STEM.csv, STEM.md, STEM.json and, if there are any, STEM-samples.csv. Returns the files."""
    files.write_table(folder / f"{stem}.csv", rows, columns)
    page = [f"# lengthgen bench: {stem.replace('_', ' ')}", "", markdown(rows, shown), ""]
    page += [f"- {line}" for line in environment.lines(facts)]
    files.write_text(folder / f"{stem}.md", "\n".join(page) + "\n")
    files.write_json(folder / f"{stem}.json", facts)
    written = [folder / f"{stem}{ending}" for ending in (".csv", ".md", ".json")]
    if samples:
        files.write_table(folder / f"{stem}-samples.csv", sample_rows(samples), SAMPLES)
        written.append(folder / f"{stem}-samples.csv")
    return written


def sample_rows(samples: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """One row a measurement, in the order in which they were made."""
    rows = [
        {
            "bench": bench, "candidate": name, "round": sample.round, "place": sample.place,
            "wall_seconds": sample.wall, "cpu_seconds": sample.cpu, "peak_bytes": sample.peak,
        }
        for bench, measured in samples.items() for name, found in measured.samples.items() for sample in found
    ]  # fmt: skip
    return sorted(
        rows, key=lambda row: (list(samples).index(row["bench"]), row["round"], row["place"])
    )
