"""`lengthgen list runs`: each run, how far it came, and its losses at both ends. No torch."""

import csv
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lengthgen import files
from lengthgen.evaluation import records, selection
from lengthgen.evaluation.records import RunFolder
from lengthgen.reporting.status_words import STATUS_WORDS
from lengthgen.reporting.text_tables import aligned

HEAD = (
    "run", "scheme", "dataset", "model", "train_length", "steps", "seed", "status", "evaluations",
    "loss at L", "at the longest",
)  # fmt: skip
# What a run's id says as well: left out, in this order, where a terminal is too narrow.
SAID_BY_ID = ("model", "dataset", "seed", "scheme", "train_length", "evaluations")
NOTE = (
    "loss: nats a token, at the training length L and at the longest input; `lengthgen compare` "
    "has changes and words"
)
ANY = 10_000  # characters: no terminal
Row = Mapping[str, str]


class Losses(NamedTuple):
    """Nats a token, matched targets, of a run as it was trained; as text, empty where unknown."""

    at_train_length: str = ""
    at_longest: str = ""  # `3.699 at 2,048`


def table(results: Path, where: selection.Where) -> str:
    """The runs under `results` that fit; columns as the terminal has room. ConfigError for none."""
    if not records.runs(results) and not where:
        return f"no runs in {results / 'runs'}; `lengthgen train` makes one"
    rows = [_row(run) for run in selection.runs(results, where)]
    width = shutil.get_terminal_size((ANY, 24)).columns
    shown = list(HEAD)
    for name in SAID_BY_ID:
        if _width(rows, shown) > width:
            shown.remove(name)
    text = aligned(shown, [[row[name] for name in shown] for row in rows], width=ANY)
    if not any(row["loss at L"] for row in rows):
        return text
    return "\n".join([text, *textwrap.wrap(NOTE, min(width, len(text.splitlines()[1])))])


def losses(run: RunFolder) -> Losses:
    """Of its evaluation without a retrofit, after all steps; of several that of the longest input,
    else the first by id."""
    found = []
    for folder in run.evaluations:
        first = selection.first_row(folder)
        if first and first.get("steps") == str(run.config.get("steps", first.get("steps"))):
            found.append((len(first["scheme"]), folder))
    shortest = min((length for length, _ in found), default=0)
    tables = [loss_rows(folder) for length, folder in found if length == shortest]
    rows = max(tables, key=lambda rows: max(rows, default=0), default={})
    if not rows:
        return Losses()
    longest, train_length = max(rows), run.config.get("train_length")
    at_train_length = rows.get(train_length) if isinstance(train_length, int) else None
    return Losses(
        _value(at_train_length) if at_train_length else "",
        f"{_value(rows[longest])} at {longest:,}",
    )


def loss_rows(evaluation: Path) -> dict[int, Row]:
    """Evaluation length -> its row of the matched losses, else of the first protocol."""
    path = evaluation / "lengths.csv"
    try:
        with files.reading(path), open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["metric"] == "loss"]
        protocols = [row["protocol"] for row in rows]
        chosen = "matched" if "matched" in protocols else next(iter(protocols), "")
        return {int(row["eval_length"]): row for row in rows if row["protocol"] == chosen}
    except (*files.NO_FILE, ValueError, KeyError, TypeError, csv.Error):
        return {}  # damaged: `lengthgen compare` says so


def _value(row: Row) -> str:
    try:
        return f"{float(row['value']):.3f}"
    except (TypeError, ValueError):
        return STATUS_WORDS.get(row["status"], row["status"])


def _row(run: RunFolder) -> dict[str, str]:
    config = run.config
    names = {
        group: str((config.get(group) or {}).get("name", "?"))
        for group in ("scheme", "dataset", "model")
    }
    under = ((config.get("from") or {}).get("retrofit") or {}).get("name")  # while trained on
    around = [*(config.get("modifiers") or {}), *([under] if under else [])]
    names["scheme"] = "+".join([names["scheme"], *around])
    numbers = {key: str(config.get(key, "?")) for key in ("train_length", "steps", "seed")}
    measured = losses(run)
    return {
        "run": run.name, **names, **numbers, "status": run.status,
        "evaluations": str(len(run.evaluations)),
        "loss at L": measured.at_train_length, "at the longest": measured.at_longest,
    }  # fmt: skip


def _width(rows: Sequence[Row], names: Sequence[str]) -> int:
    widths = (max(len(name), *(len(row[name]) for row in rows)) for name in names)
    return sum(widths) + 2 * (len(names) - 1)
