"""What a benchmark leaves: a table on screen and, under --out, CSV, Markdown, samples and facts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.bench import environment
from lengthgen.bench.measuring import Measured
from lengthgen.reporting import text_tables

SAMPLES = ("bench", "candidate", "round", "place", "wall_seconds", "cpu_seconds", "peak_bytes")


def on_screen(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The rows as aligned text, without empty columns."""
    head, body, _ = _cells(rows, columns)
    return text_tables.aligned(head, body)


def markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """The lines of a Markdown table, without empty columns."""
    return text_tables.markdown(*_cells(rows, columns))


def _cells(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> tuple[list[str], list[list[str]], str]:
    columns = [name for name in columns if any(row.get(name) not in (None, "") for row in rows)]
    numeric = (
        all(isinstance(row.get(name), int | float | None) for row in rows) for name in columns
    )
    head = [name.replace("_", " ") for name in columns]
    body = [[_text(row.get(name)) for name in columns] for row in rows]
    return head, body, "".join("r" if right else "l" for right in numeric)


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
    """Write STEM.csv, STEM.md, STEM.json and, if there are any, STEM-samples.csv."""
    files.write_table(folder / f"{stem}.csv", rows, columns)
    page = [f"# lengthgen bench: {stem.replace('_', ' ')}", "", *markdown(rows, shown), ""]
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
    rows: list[dict[str, Any]] = []
    for bench, measured in samples.items():
        cells = [
            (bench, name, s.round, s.place, s.wall, s.cpu, s.peak)
            for name, of_candidate in measured.samples.items()
            for s in of_candidate
        ]
        cells.sort(key=lambda row: row[2:4])
        rows += [dict(zip(SAMPLES, row, strict=True)) for row in cells]
    return rows
