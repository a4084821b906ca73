"""The summary of a published folder as Markdown: scheme x length, the loss with its interval and its change from the training length."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lengthgen import palette
from lengthgen.evaluation import intervals

WORDS = {"refused": "refuses", "oom": "out of memory", "nonfinite": "not finite", "leak": "leaks"}


def summary(groups: Sequence[pd.DataFrame], note: Mapping[str, Any], answers: pd.DataFrame | None = None) -> str:
    """The page for groups of rows with the columns of tables.SUMMARY, the published folder's provenance, and answers.VERDICTS."""
    parts = ["# Summary", ""]
    if note.get("note"):
        parts += [str(note["note"]), ""]
    for rows in groups:
        parts += _group(rows)
        if answers is not None:
            parts += _answers(answers, rows.iloc[0])
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


def _answers(answers: pd.DataFrame, first: pd.Series) -> list[str]:
    """The words of one group, scheme x length, and what they rest on."""
    for column in ("dataset", "model", "train_length", "steps", "setting", "evaluation"):
        answers = answers[answers[column] == first[column]]
    if answers.empty:
        return []
    band = answers["use_band"].notna().any()
    windows = "a window of the text and a hard window in every layer" if band else "a window of the text (no `band` protocol was evaluated)"
    cells = {(row["scheme"], int(row["eval_length"])): WORDS.get(row["word"], row["word"]) for row in answers.to_dict("records")}
    return [
        f"### Fails, tolerates or uses input beyond {int(first['train_length'])} tokens, matched",
        "",
        f"From F, the change of the loss, and U, what the model gains over itself confined to its training length by {windows};",
        "numbers in verdicts.csv. 95 % intervals, not corrected for the number of cells: exploratory. `tolerates` may be the text's doing:",
        "whether a model trained at the longer length would gain by it is not asked here.",
        "",
        *_table(cells, sorted(answers["scheme"].unique(), key=palette.order), sorted({length for _, length in cells})),
        "",
    ]


COUNTS = (("n_seeds", "seeds"), ("n_documents", "documents"), ("n_tokens", "tokens at each length"))


def _grid(rows: pd.DataFrame, column: str, pattern: str) -> list[str]:
    lengths = sorted({int(length) for length in rows["eval_length"]})
    cells = {(row["scheme"], int(row["eval_length"])): _cell(row, column, pattern) for row in rows.to_dict("records")}
    return _table(cells, sorted(rows["scheme"].unique(), key=palette.order), lengths)


def _table(cells: Mapping[tuple[str, int], str], schemes: Sequence[str], lengths: Sequence[int]) -> list[str]:
    lines = ["| scheme | " + " | ".join(map(str, lengths)) + " |", "|---|" + "---:|" * len(lengths)]
    for scheme in schemes:
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
