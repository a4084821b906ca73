"""Speed and memory: the tables of `lengthgen bench`, of results/bench_*/."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lengthgen import files
from lengthgen.reporting.page import numbers
from lengthgen.reporting.page.content import Block, Cell, Commands, Fold, Table

# Columns that are shown, with their headings, where a table has them; the others are in the CSV.
COLUMNS = {
    "candidate": "candidate",
    "bench": "benchmark",
    "what": "what was timed",
    "tokens": "tokens",
    "batch": "batch",
    "tokens_per_second": "tokens/s",
    "of_none": "of none",
    "above_mib": "MiB above",
    "prefill_ms": "prefill, ms",
    "decode_tokens_per_second": "decoding, tokens/s",
    "of_first": "of the first",
    "cache_mib": "cache, MiB",
    "measured": "measured",
    "pass_mark": "pass mark",
    "verdict": "verdict",
}
# Shown once above the table, where every row has the same.
SAME = ("tokens", "batch", "bench")
MEASURED = ("tokens_per_second", "above_mib", "prefill_ms", "measured")
TEXT = ("candidate", "bench", "what", "pass_mark", "verdict")


def folds(results: Path) -> Iterator[Fold]:
    """One for each folder of benchmarks under `results`, by name."""
    for folder in sorted(results.glob("bench_*")):
        blocks: list[Block] = []
        for path in sorted(folder.glob("*.csv")):
            blocks += _blocks(path)
        if blocks:
            blocks.append(Commands(_commands(folder)))
            yield Fold(folder.name, blocks, f"costs-{folder.name}", note=_note(folder))


def _blocks(path: Path) -> list[Block]:
    with files.reading(path), path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if any(row.get(name) for name in MEASURED)]
    if not rows:
        return []
    named = [name for name in COLUMNS if name in rows[0]]
    shown = [name for name in named if name not in SAME or len({row[name] for row in rows}) > 1]
    if "what" not in shown:  # the first column names the row
        shown.sort(key=lambda name: name != "candidate")
    cells = [[_cell(row, name) for name in shown] for row in rows]
    numeric = frozenset(i for i, name in enumerate(shown) if name not in TEXT)
    caption = f"{path.parent.name}, {path.stem}{_same(rows, set(named) - set(shown))}"
    return [Table(caption, [COLUMNS[name] for name in shown], cells, numeric)]


def _cell(row: Mapping[str, str], name: str) -> Cell:
    if name == "verdict":
        return Cell(word=row[name])
    if name in TEXT:
        return Cell(row[name], code=name == "candidate")
    if row.get("status", "ok") not in ("ok", "") and not row[name]:
        return Cell(row["status"])
    low, high = (row.get(f"{name}_{end}") or "" for end in ("low", "high"))
    if name == "measured":
        low, high = row.get("low") or "", row.get("high") or ""
    value = f"{int(float(row[name])):,}" if name in SAME and row[name] else _number(row[name])
    between = f"{_number(low)} to {_number(high)}" if low and high and low != high else ""
    return Cell(value, between)


def _number(text: str) -> str:
    try:
        return numbers.short(float(text))
    except ValueError:
        return text


def _commands(folder: Path) -> list[str]:
    abouts = [files.read_json(path, {}) for path in sorted(folder.glob("*.json"))]
    return list(dict.fromkeys(str(about["command"]) for about in abouts if "command" in about))


def _same(rows: Sequence[Mapping[str, str]], names: set[str]) -> str:
    told = [f"{name} {rows[0][name]}" for name in SAME if name in names - {"bench"}]
    return f" ({', '.join(told)})" if told else ""


def _note(folder: Path) -> str:
    abouts = [files.read_json(path, {}) for path in sorted(folder.glob("*.json"))]
    facts = {
        (about.get("device"), about.get("cpu"), about.get("threads"))
        for about in abouts
        if isinstance(about, dict)
    }
    told = [
        ", ".join(str(part) for part in (cpu, device) if part)
        + (f", {numbers.counted(int(threads), 'thread')}" if threads else "")
        for device, cpu, threads in sorted(facts, key=str)
    ]
    return "; ".join(each for each in told if each)
