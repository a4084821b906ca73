"""A comparison as a person reads it: a table for the terminal that fits its width, and LaTeX.

A line for each scheme, a column for the training length and one for each longer length: value and
word, the interval below them. Columns that do not fit stand below, in as many parts as it takes.
"""

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lengthgen.reporting import tables, text_tables
from lengthgen.reporting.comparison import MATCHED, Group, Row
from lengthgen.reporting.status_words import STATUS_WORDS
from lengthgen.statistics import intervals
from lengthgen.statistics.thresholds import DELTA, IN_USE, SMALLEST_GAIN

NARROWEST = 60  # characters: a narrower terminal breaks the lines itself
LABEL, WORD = 24, 14  # characters of a scheme's label and of a word in one line, at most
Write = Callable[[float], str]
AT_L = ("untrained", "positions not in use")  # words that hold of the training length
MEANINGS = {
    "fails": f"the loss rises by more than {DELTA} nats",
    "tolerates": f"the loss rises by less than {DELTA}, and tokens farther back than the training "
    f"length are worth less than {SMALLEST_GAIN}",
    "uses": f"the loss rises by less than {DELTA}, and tokens farther back than the training "
    f"length are worth {SMALLEST_GAIN} or more",
    "undecided": "the intervals are too wide for a word; more seeds or documents may decide",
    "untrained": "at the training length not clearly better than a table of token pairs, so that "
    "longer input tells nothing",
    "positions not in use": f"at the training length not clearly {IN_USE} better than without "
    "positions, so that longer input tells nothing of them",
}
BREAKS = re.compile(r"(?=[(+])|(?<=, )")  # of a label: t5_bias|(num_buckets=64, |max_distance=9)
BEYOND = {"loss_change": "change at", "exact_match": "exact match at", "loss": "loss at"}


@dataclass(frozen=True)
class Column:
    """head and the cell of each scheme: their lines."""

    head: list[str]
    cells: list[list[str]]

    @property
    def width(self) -> int:
        return max(len(line) for lines in [self.head, *self.cells] for line in lines)


def terminal(found: Sequence[Group], width: int, lengths: Sequence[int] | None = None) -> str:
    """All groups, and what their words mean. lengths: of the columns; None: L and all longer."""
    width = max(width, NARROWEST)
    parts = ["\n".join([*heading(group, found, width), "", _table(group, width, lengths)])
             for group in found]  # fmt: skip
    shown = [
        row
        for group in found
        for row in group.rows
        if lengths is None or row["eval_length"] in lengths
    ]
    return "\n\n".join([*parts, *_meanings(shown, all(group.gate for group in found), width)])


def latex(found: Sequence[Group], lengths: Sequence[int] | None = None) -> str:
    """A tabular with booktabs' rules for each group, below a comment that says what it is of."""
    parts = ["% \\usepackage{booktabs}"]
    for group in found:
        parts += [f"% {line}" for line in heading(group, found, 100)]
        columns = _columns(group, lengths)
        head = [" ".join(column.head).strip() for column in columns]
        rows = []
        for cells in zip(*(column.cells for column in columns), strict=True):
            height = max(map(len, cells))
            padded = ([*cell, *[""] * (height - len(cell))] for cell in cells)
            rows += [[text.replace("-", "−") for text in row] for row in zip(*padded, strict=True)]
            for row in rows[-height:]:
                row[0] = row[0].replace("−", "-")  # a name
        parts += [*text_tables.latex(head, rows, "l"), ""]
    return "\n".join(parts).rstrip("\n")


def heading(group: Group, others: Sequence[Group], width: int) -> list[str]:
    """What the rows of a group share: data, model, training, what was scored, the intervals."""
    shared = group.shared
    steps = int(shared["steps"])
    trained = f"for {steps:,} steps" if steps else "(pretrained)"
    title = (
        f"{shared['dataset']}, {shared['model']} model, trained at {group.train_length:,} tokens "
        f"{trained}"
    )
    keys = ("dataset", "model", "train_length", "steps")
    alike = [other for other in others if all(other.shared[key] == shared[key] for key in keys)]
    if len(alike) > 1:
        title += f" (setting {shared['setting']}, evaluation {shared['evaluation']})"
    return [part for line in (title, _scored(group)) for part in _wrapped(line, width)]


def _scored(group: Group) -> str:
    """What was scored, and how sure the numbers are."""
    usable = [row for row in group.rows if row["status"] == "ok"]
    if not usable:
        return "Nothing was scored."
    tokens, documents = (
        text_tables.span(row[name] for row in usable) for name in ("n_tokens", "n_documents")
    )
    same = " at every length" if group.shared["protocol"] == MATCHED else ""
    targets = f"{'the same ' if same else ''}{tokens} tokens of {documents} documents{same}"
    text = f"Loss in nats/token on {targets} ({group.shared['protocol']})."
    if group.measure == "exact_match":
        text += " Exact match: the share of documents whose whole answer is right."
    if any(pd.notna(row["loss_low"]) for row in usable):
        seeds = np.array([row["n_seeds"] for row in usable])
        text += f" Intervals: 95 %, {intervals.words(seeds)}."
    return text


def _table(group: Group, width: int, lengths: Sequence[int] | None) -> str:
    name, loss, *beyond = _columns(group, lengths)
    parts, waiting = [], [loss, *beyond]
    while waiting:
        taken = [waiting.pop(0)]
        while waiting and _width([name, *taken, waiting[0]]) <= width:
            taken.append(waiting.pop(0))
        columns = [name, *taken]
        head = ["\n".join(column.head) for column in columns]
        rows = zip(*(column.cells for column in columns), strict=True)
        lines = [["\n".join(cell) for cell in row] for row in rows if any(map(any, row[1:]))]
        parts.append(text_tables.aligned(head, lines, width=max(width, _width(columns))))
    return "\n\n".join(parts)


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + 2 * (len(columns) - 1)


def _columns(group: Group, lengths: Sequence[int] | None) -> list[Column]:
    """The schemes; their loss at the training length, a bigram table's below; longer lengths."""
    schemes, train_length = group.schemes, group.train_length
    # A share of right answers has no change: it is shown at the training length, too.
    first = train_length if group.measure == "exact_match" else train_length + 1
    known = [length for length in group.lengths if length >= first]
    chosen = known if lengths is None else [length for length in known if length in lengths]
    at_train = group.at(train_length)
    names = [_label(group, scheme) for scheme in schemes]
    before = {scheme: _at_train_length(group, scheme) for scheme in schemes}
    losses = [
        [*_cell(at_train.get(scheme), "loss", "{:.3f}".format), *_wrapped(before[scheme], WORD)]
        for scheme in schemes
    ]
    beyond = [
        Column(
            [BEYOND[group.measure], f"{length:,} ({length / train_length:.3g}×)"],
            [
                _beyond(group.at(length).get(scheme), group.measure, not before[scheme])
                for scheme in schemes
            ],
        )
        for length in chosen
    ]
    if group.bigram is not None:
        names.append(["(bigram table)"])
        losses.append([f"{group.bigram:.3f}"])
        for column in beyond:
            column.cells.append([""])
    loss = Column(["loss at", f"{train_length:,}"], losses)
    return [Column(["scheme", ""], names), loss, *beyond]


def _label(group: Group, scheme: str) -> list[str]:
    """Broken at its options and additions, with the number of seeds below."""
    seeds = max((int(row["n_seeds"]) for row in group.rows if row["scheme"] == scheme), default=0)
    count = f"  {seeds} seed{'' if seeds == 1 else 's'}" if seeds else ""
    lines = [""]
    for part in BREAKS.split(scheme):
        if lines[-1] and len(lines[-1]) + len(part) > LABEL:
            lines.append("  ")
        lines[-1] += part
    return [*(line.rstrip() for line in lines), count]


def _at_train_length(group: Group, scheme: str) -> str:
    """The word that holds of the training length, and so of every longer one; else empty."""
    said = {row["word"] for row in group.rows if row["scheme"] == scheme and row["word"]}
    known = {word for word in said if word not in STATUS_WORDS}
    return known.pop() if len(known) == 1 and known <= set(AT_L) else ""


def _beyond(row: Row | None, measure: str, with_word: bool) -> list[str]:
    """The cell of a longer length: `+0.392 fails` above its interval."""
    write = "{:+z.3f}".format if measure == "loss_change" else "{:.3f}".format
    cell = _cell(row, measure, write)
    if row is None or row["status"] != "ok" or not row["word"] or not with_word:
        return cell
    if len(row["word"]) <= len("undecided"):
        return [f"{cell[0]} {row['word']}", *cell[1:]]
    return [*cell, *_wrapped(row["word"], WORD)]


def _cell(row: Row | None, name: str, write: Write) -> list[str]:
    if row is None:
        return [""]
    if row["status"] != "ok":
        return _wrapped(STATUS_WORDS.get(row["status"], str(row["status"])), WORD)
    value, low, high = (row[end] for end in tables.ends(name))
    if pd.isna(value):
        return ["not measured"]
    return [write(value)] if pd.isna(low) else [write(value), f"[{write(low)}, {write(high)}]"]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width)


def _meanings(rows: Sequence[Row], gated: bool, width: int) -> list[str]:
    """What the words of these rows mean, and why one was left undecided."""
    said = {row["word"] for row in rows}
    lines = [f"{word}: {text}." for word, text in MEANINGS.items() if word in said]
    if lines:
        lines.append("Each word is at 95 % confidence, not corrected for the number of cells.")
    if "uses" in said and not gated:
        lines.append("Whether the text rewards longer input at all was not tested (corpus gate).")
    for reason in dict.fromkeys(reason for row in rows for reason in row["reasons"]):
        schemes = dict.fromkeys(row["scheme"] for row in rows if reason in row["reasons"])
        lines.append(f"{', '.join(schemes)}: {reason}.")
    return ["\n".join(part for line in lines for part in _wrapped(line, width))] if lines else []
