"""Decisions in the HTML report: what `lengthgen decide` recommended, and its table."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.reporting.page import numbers
from lengthgen.reporting.page.anchors import anchor
from lengthgen.reporting.page.content import (
    Block,
    Cell,
    Commands,
    Facts,
    Part,
    Section,
    Table,
    Text,
)  # fmt: skip

HEAD = ("read as", "tokens", "loss", "change", "word", "prefill, ms", "ms/token", "cache, MiB",
        "in budget", "beaten by")  # fmt: skip


def section(results: Path, on_fault: Callable[[str], None]) -> Section:
    """Empty without decisions. on_fault: gets a line for each folder that cannot be read."""
    parts: list[Block] = []
    for path in sorted((results / "decisions").glob("[!.]*/decision.json")):
        about = files.read_json(path, {})
        table = path.with_name("decision.csv")
        if not isinstance(about, dict) or not table.is_file():
            on_fault(f"{path.parent} holds no decision; rerun `lengthgen decide`")
            continue
        parts.append(_decision(path.parent, about, table))
    return Section("decisions", "Decisions", parts, "Decisions")


def _decision(folder: Path, about: Mapping[str, Any], table: Path) -> Part:
    with files.reading(table), table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    facts = {
        "files": f"results/decisions/{folder.name}",
        **{
            key: _text(about[key])
            for key in ("run", "budget", "device", "commit", "rounds")
            if about.get(key)
        },
    }
    cells = [_row(row) for row in rows]
    caption = f"{folder.name}: loss, time and memory of each way to read longer input"
    blocks: list[Block] = [
        Text(str(about.get("recommendation", "")), lead=True),
        *(Text(_text(cause)) for cause in about.get("causes", [])),
        Table(caption, HEAD, cells, frozenset({1, 2, 3, 5, 6, 7})),
        Facts(list(facts.items())),
    ]
    if about.get("command"):
        blocks.append(Commands([_text(about["command"])]))
    return Part(f"decision-{anchor(folder.name)}", folder.name, blocks)


def _row(row: Mapping[str, str]) -> list[Cell]:
    def number(name: str, decimals: int = 3, sign: bool = False) -> str:
        text = row.get(name) or ""
        return numbers.number(float(text), decimals, sign) if text else ""

    def between(name: str, sign: bool = False) -> str:
        ends = [row.get(f"{name}_{end}") or "nan" for end in ("low", "high")]
        return numbers.interval(float(ends[0]), float(ends[1]), sign=sign)

    return [
        Cell(row.get("subject", ""), row.get("training", ""), code=True),
        Cell(f"{int(float(row['eval_length'])):,}" if row.get("eval_length") else ""),
        Cell(number("loss"), between("loss")),
        Cell(number("change", sign=True), between("change", sign=True)),
        Cell(word=row.get("word", "")),
        Cell(number("prefill_ms", 0)),
        Cell(number("token_ms", 1)),
        Cell(number("cache_mib", 1)),
        Cell("yes" if row.get("within_budget") == "True" else "no"),
        Cell(row.get("beaten_by", "")),
    ]


def _text(value: Any) -> str:
    """A list as words, the keys of a mapping left out."""
    if isinstance(value, Mapping):
        return ", ".join(_text(each) for each in value.values() if each not in (None, ""))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
