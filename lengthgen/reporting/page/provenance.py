"""Where the numbers of a published folder come from: runs, seeds, commits, device, commands."""

from collections.abc import Mapping, Sequence
from typing import Any

from lengthgen.reporting.page.content import Block, Cell, Commands, Facts, Fold, Table, Text
from lengthgen.reporting.page.numbers import counted


def fold(anchor: str, name: str, note: Mapping[str, Any], source: str) -> Fold:
    """note: provenance.json. source: the folder that the numbers stand in."""
    runs = note.get("runs", [])
    blocks: list[Block] = [Facts(_facts(note, source))]
    if note.get("commands"):
        title = f"Commands of the trainings ({len(note['commands'])})"
        blocks += [Text(title), Commands(list(note["commands"]))]
    blocks += _evaluations(note)
    if runs:
        blocks.append(_runs(name, runs))
    seeds = note.get("seeds", [])
    told = ", ".join((counted(len(runs), "run"), counted(len(seeds), "seed")))
    return Fold(name, blocks, anchor, note=told)


def _facts(note: Mapping[str, Any], source: str) -> list[tuple[str, str]]:
    versions = [
        ", ".join(f"{name} {version}" for name, version in each.items())
        for each in note.get("versions", [])
    ]
    facts = {
        "files": source,
        "seeds": _listed(note.get("seeds", [])),
        "commits": _listed(note.get("commits", [])),
        "devices": _listed(note.get("devices", [])),
        "threads": _listed(note.get("threads", [])),
        "versions": "; ".join(versions),
    }
    return [(name, text) for name, text in facts.items() if text]


def _evaluations(note: Mapping[str, Any]) -> list[Block]:
    rows = [
        [
            Cell(about["evaluation"], code=True),
            Cell(about["setting"], code=True),
            Cell(_listed(commit[:12] for commit in about.get("commits", [])), code=True),
            Cell(_listed(about.get("targets", [])) or "unknown", code=True),
        ]
        for about in note.get("evaluations", [])
    ]
    head = ("evaluation", "setting", "commit", "hash of the targets")
    caption = "Evaluations: the same hash of the targets means that the same tokens were scored"
    return [Table(caption, head, rows)] if rows else []


def _runs(name: str, runs: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [
            Cell(str(run["run"]), code=True),
            Cell(str(run.get("scheme", ""))),
            Cell("" if run.get("seed") is None else str(run["seed"])),
            Cell(_count(run, "total")),
            Cell(_count(run, "positional")),
            Cell(f"{run['learning_rate']:g}" if "learning_rate" in run else ""),
        ]
        for run in runs
    ]
    head = ("run", "scheme", "seed", "parameters", "positional", "learning rate")
    return Table(f"Runs of {name}", head, rows, frozenset({2, 3, 4, 5}))


def _count(run: Mapping[str, Any], kind: str) -> str:
    count = (run.get("parameters") or {}).get(kind)
    return "" if count is None else f"{count:,}"


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in values)
