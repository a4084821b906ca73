"""The summary of a published folder as Markdown: scheme x length, the loss with its interval and its change from the training length."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lengthgen import palette
from lengthgen.evaluation import intervals

WORDS = {"refused": "refuses", "oom": "out of memory", "nonfinite": "not finite", "leak": "leaks"}


def summary(groups: Sequence[pd.DataFrame], note: Mapping[str, Any]) -> str:
    """The page for groups of rows with the columns of tables.SUMMARY, and the published folder's provenance."""
    parts = ["# Summary", ""]
    if note.get("note"):
        parts += [str(note["note"]), ""]
    for rows in groups:
        parts += _group(rows)
    for title, key in (("Commands", "commands"), ("Commits", "commits"), ("Devices", "devices")):
        if note.get(key):
            parts += [f"{title}:", "", *(f"- `{value}`" for value in note[key]), ""]
    return "\n".join(parts).rstrip("\n") + "\n"


def _group(rows: pd.DataFrame) -> list[str]:
    first = rows.iloc[0]
    parts = [
        f"## {first['dataset']}, {first['model']} model, trained at {int(first['train_length'])} tokens for {int(first['steps'])} steps",
        "",
        f"Setting `{first['setting']}`, evaluation `{first['evaluation']}`.",
        "",
    ]
    for protocol, own in rows.groupby("protocol", sort=True):
        scored = own[own["status"] == "ok"]
        counts = ", ".join(f"{_range(scored[column])} {noun}" for column, noun in COUNTS) if len(scored) else "nothing scored"
        parts += [f"### Loss (nats/token), {protocol}: {counts}", ""]
        if scored["loss_low"].notna().any():
            parts += [f"Intervals: 95 %, {intervals.words(scored['n_seeds'])}.", ""]
        parts += [*_grid(own, "loss", "{:.4f} [{:.4f}, {:.4f}]"), ""]
        if own["loss_change"].notna().any():
            title = f"### Change of the loss from {int(first['train_length'])} tokens (nats/token, paired), {protocol}"
            parts += [title, "", *_grid(own, "loss_change", "{:+.4f} [{:+.4f}, {:+.4f}]"), ""]
    return parts


COUNTS = (("n_seeds", "seeds"), ("n_documents", "documents"), ("n_tokens", "tokens at each length"))


def _grid(rows: pd.DataFrame, column: str, pattern: str) -> list[str]:
    lengths = sorted({int(length) for length in rows["eval_length"]})
    cells = {(row["scheme"], int(row["eval_length"])): _cell(row, column, pattern) for row in rows.to_dict("records")}
    lines = ["| scheme | " + " | ".join(map(str, lengths)) + " |", "|---|" + "---:|" * len(lengths)]
    for scheme in sorted(rows["scheme"].unique(), key=palette.order):
        lines.append(f"| {scheme} | " + " | ".join(cells.get((scheme, length), "") for length in lengths) + " |")
    return lines


def _cell(row: Mapping[str, Any], column: str, pattern: str) -> str:
    if row["status"] != "ok":
        return WORDS.get(row["status"], row["status"])
    values = [row[column], row[f"{column}_low"], row[f"{column}_high"]]
    if pd.isna(values[0]):
        return ""
    if column == "loss_change" and row["eval_length"] == row["train_length"]:
        return "0"
    return pattern.format(*values) if not pd.isna(values[1]) else pattern.partition(" ")[0].format(values[0])


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
