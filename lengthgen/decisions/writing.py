"""A decision's folder: decision.csv, README.md with the table and the recommendation."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.decisions.cause import Cause
from lengthgen.decisions.table import COLUMNS, Row
from lengthgen.reporting import text_tables

HEAD = (
    "tokens", "read as", "training", "loss [nats/token]", "change", "word", "prefill ms",
    "ms/token", "cache MiB", "in budget", "beaten by",
)  # fmt: skip


def write(
    folder: Path,
    rows: Sequence[Row],
    sentence: str,
    causes: Sequence[Cause],
    about: Mapping[str, Any],
) -> None:
    """about: run, budget, command, commit, device, rounds: what the numbers are of."""
    files.write_table(folder / "decision.csv", rows, COLUMNS)
    told: dict[str, Any] = {"recommendation": sentence}
    if causes:
        told["causes"] = [dataclasses.asdict(cause) for cause in causes]
    files.write_json(folder / "decision.json", dict(about) | told)
    facts = [f"- {key}: {value}" for key, value in about.items()]
    table = text_tables.markdown(HEAD, cells(rows), "rllrrlrrrll")
    why = [f"- {cause}" for cause in causes]
    parts = [f"# {about['run']}", "", sentence, "", *why, *([""] if why else []), *table, ""]
    parts += [*facts, "", NOTE]
    files.write_text(folder / "README.md", "\n".join(parts) + "\n")


NOTE = """\
Loss: matched protocol, mean with 95 % interval over documents; change: from the row's own training
length, on the same targets; training: of the model, none where it came trained. Prefill and
decoding: medians over rounds in which all take turns. Memory: by formula. Beaten: by one whose loss
is surely lower, and which is neither surely slower nor has to keep more."""


def terminal(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    return text_tables.aligned(HEAD, cells(rows))


def cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """HEAD of each row, as text."""
    return [
        (
            f"{row['eval_length']:,}",
            row["subject"],
            row["training"],
            f"{row['loss']:.3f} [{row['loss_low']:.3f}, {row['loss_high']:.3f}]",
            _change(row),
            row["word"],
            f"{row['prefill_ms']:.0f}",
            _number(row["token_ms"], "{:.1f}"),
            _number(row["cache_mib"], "{:.1f}"),
            "yes" if row["within_budget"] else "no",
            row["beaten_by"],
        )
        for row in rows
    ]


def _change(row: Row) -> str:
    if row["change"] is None:
        return ""
    return f"{row['change']:+.3f} [{row['change_low']:+.3f}, {row['change_high']:+.3f}]"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
