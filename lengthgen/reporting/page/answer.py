"""The answer in words: which schemes use, tolerate or fail longer input, of one set-up.

A scheme stands under one word: that of the farthest length; where that is `fails`, it says from
which length on. One that has no word there is under the word of its farthest length that has one.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lengthgen.reporting import tables
from lengthgen.reporting.figures import palette
from lengthgen.reporting.page import numbers, words
from lengthgen.reporting.page.content import Block, Card, Cards, Text

Row = Mapping[str, Any]
# A word, and how a sentence says it of one scheme and of several.
SAID = (
    ("uses", "uses it", "use it"),
    ("tolerates", "tolerates it", "tolerate it"),
    ("fails", "fails on it", "fail on it"),
    ("refuses", "refuses it", "refuse it"),
    ("undecided", "is undecided", "are undecided"),
    ("positions not in use", "does not use its positions", "do not use their positions"),
    ("untrained", "is untrained", "are untrained"),
)


def blocks(verdict_rows: pd.DataFrame) -> list[Block]:
    """Nothing without verdicts. Rows of one group of verdicts.csv."""
    if verdict_rows.empty:
        return []
    of_word: dict[str, list[tuple[str, str]]] = {}
    for scheme in sorted(verdict_rows["scheme"].unique(), key=palette.order):
        rows = tables.as_rows(verdict_rows[verdict_rows["scheme"] == scheme])
        rows.sort(key=lambda row: row["eval_length"])
        word = words.shown(rows[-1]["word"])
        of_word.setdefault(word, []).append((str(scheme), _told(rows)))
    order = list(words.MEANINGS)
    ranked = sorted(of_word, key=lambda word: order.index(word) if word in order else len(order))
    cards = [Card(word, words.MEANINGS.get(word, ""), of_word[word]) for word in ranked]
    return [Text(_sentence(verdict_rows, of_word), lead=True), Cards(cards)]


def _told(rows: Sequence[Row]) -> str:
    """The change at the farthest length, and from where on it fails."""
    last = rows[-1]
    change, low, high = (float(last[end]) for end in tables.ends("failure"))
    told = f"{numbers.number(change, sign=True)} {numbers.interval(low, high)}".strip()
    failing = [int(row["eval_length"]) for row in rows if row["word"] == "fails"]
    others = [int(row["eval_length"]) for row in rows if row["word"] != "fails"]
    if last["word"] == "fails":
        first = min(length for length in failing if length > max(others, default=0))
        return f"{told}, fails from {first:,}"
    if failing:
        return f"{told}, fails at {', '.join(f'{length:,}' for length in failing)}"
    return told or words.shown(str(last["word"]))


def _sentence(verdict_rows: pd.DataFrame, of_word: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    first = tables.as_rows(verdict_rows)[0]
    trained, farthest = int(first["train_length"]), int(verdict_rows["eval_length"].max())
    parts = []
    for word, one, several in SAID:
        names = [scheme for scheme, _ in of_word.get(word, ())]
        if names:
            parts.append(f"{_and(names)} {one if len(names) == 1 else several}")
    if parts:
        parts[0] = re.sub(r" it$", " the longer input", parts[0])
    return (
        f"Trained at {trained:,} tokens and evaluated at up to {farthest:,} "
        f"({farthest / trained:.3g} times as many): {'; '.join(parts) or 'no value'}."
    )


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
