"""What the panels of a study's figure hold: small multiples of the rows of values.csv.

A panel for each dataset and training length, and for what parts.Figure.panels says. Left to choose,
a panel of more than MOST_LINES lines is split: the arms as trained, then each arm with its
conditions. With an axis of training tokens, or of the corpus's, a panel is an evaluation length.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lengthgen.studies import lines
from lengthgen.studies.parts import Figure
from lengthgen.studies.study_folder import Row

MOST_LINES = 7
SAME_TARGETS = ("matched", "whole")
NOTES = {"floor": "exact floor", "bigram": "bigram table"}  # measures that are no result


@dataclass(frozen=True)
class Panel:
    """arm: of a panel with the conditions of one arm; their lines are then named without it."""

    title: str
    train_length: int
    arm: str = ""
    rows: list[Row] = field(default_factory=list)
    notes: list[Row] = field(default_factory=list)  # floors
    thresholds: list[tuple[float, float]] = field(default_factory=list)  # x, y


def split(rows: Sequence[Row], asked: Figure, claims: Sequence[Row] = ()) -> list[Panel]:
    """The panels of a figure, with their rows, in the order of the study."""
    protocols = asked.protocols or (None if asked.panels == "protocol" else SAME_TARGETS)
    chosen = [
        row
        for row in rows
        if row["status"] == "ok"
        and (protocols is None or row["protocol"] in protocols)
        and _wanted(row["subject"], asked)
    ]
    shown = [row for row in chosen if row["measure"] == asked.show]
    notes = [row for row in chosen if row["measure"] in NOTES] if asked.show == "loss" else []
    panels: dict[tuple, Panel] = {}
    for row in shown:
        for key, title in _keys(row, shown, asked):
            arm = key[2] if len(key) == 4 else ""
            panel = panels.setdefault(key, Panel(title, row["train_length"], arm))
            panel.rows.append(row)
    for panel in panels.values():
        here = {_place(row) for row in panel.rows}
        panel.notes.extend(row for row in notes if _place(row) in here)
        if asked.axis == "length":
            panel.thresholds.extend(_thresholds(panel, asked, claims))
    return list(panels.values())


def _wanted(subject: str, asked: Figure) -> bool:
    arm, _, condition = subject.partition("+")
    conditions = not asked.conditions or not condition or condition in asked.conditions
    return conditions and (not asked.arms or arm in asked.arms)


def _keys(row: Row, shown: Sequence[Row], asked: Figure) -> list[tuple[tuple, str]]:
    """(key, title) of every panel that a row is in."""
    base = row["dataset"], row["train_length"]
    title = f"{row['dataset']}, trained at {row['train_length']:,}"
    arm, _, condition = row["subject"].partition("+")
    if asked.axis != "length":
        factor = row["eval_length"] / row["train_length"]
        if asked.axis == "tokens" and asked.show != "change" and factor != 1:
            return []
        if factor < 1 or (asked.show == "change" and factor == 1):
            return []
        at = "" if factor == 1 else f", evaluated at {factor:g} L"
        return [((*base, factor), title + at)]
    if asked.panels == "none":
        return [(("all",), row["dataset"])]
    if asked.panels == "protocol":
        return [((*base, row["protocol"]), f"{row['protocol']}; {title}")]
    if asked.panels == "condition":
        name = condition or "as trained"
        return [((*base, name), f"{name}; {title}")]
    same = [one for one in shown if (one["dataset"], one["train_length"]) == base]
    subjects = list(dict.fromkeys(one["subject"] for one in same))
    with_conditions = {name.partition("+")[0] for name in subjects if "+" in name}
    many = len(subjects) > MOST_LINES and bool(with_conditions)
    if not many and asked.panels != "arm":
        return [(base, title)]
    keys: list[tuple[tuple, str]] = []
    if not condition and len({name.partition("+")[0] for name in subjects}) > 1:
        keys.append(((*base, ""), f"as trained; {title}"))
    if arm in with_conditions or asked.panels == "arm":
        of_arm = [name for name in subjects if name.startswith(f"{arm}+")]
        parts = [of_arm[i : i + MOST_LINES - 1] for i in range(0, len(of_arm), MOST_LINES - 1)]
        for number, part in enumerate(parts or [[]]):
            if not condition or row["subject"] in part:
                counted = f" ({number + 1} of {len(parts)})" if len(parts) > 1 else ""
                keys.append(((*base, arm, number), f"{arm}{counted}; {title}"))
    return keys


def _place(row: Row) -> tuple:
    return row["dataset"], row["train_length"], row["protocol"]


def _thresholds(
    panel: Panel, asked: Figure, claims: Sequence[Row]
) -> Iterable[tuple[float, float]]:
    """Of the claims about the measure itself (no baseline) of a line in the panel."""
    subjects = {row["subject"] for row in panel.rows}
    protocols = {row["protocol"] for row in panel.rows}
    for claim in claims:
        factor, protocol = claim["length_factor"], claim.get("protocol") or "matched"
        here = claim["subject"] in subjects and protocol in protocols and not claim["baseline"]
        if here and claim["measure"] == asked.show and factor == factor:
            kind, _, number = claim["predict"].partition(" ")
            for sign in (1, -1) if kind == "within" else (1,):
                yield factor * panel.train_length, sign * float(number)


def of_lines(panel: Panel, axis: str) -> dict[str, list[lines.Point]]:
    """Name -> points of every line."""
    found: dict[str, list[lines.Point]] = {}
    for row in panel.rows:
        x = row["eval_length" if axis == "length" else axis]
        found.setdefault(name(row, axis), []).append((x, row["value"], row["low"], row["high"]))
    return {line: sorted(points) for line, points in found.items()}


def name(row: Row, axis: str) -> str:
    """With an axis of tokens, conditions `at_N`, or arms whose names end in _N, are one line."""
    if axis == "length":
        return row["subject"]
    arm, plus, _ = row["subject"].partition("+")
    return arm if plus else re.sub(r"_\d+$", "", arm)


def called(panel: Panel, name: str) -> str:
    """How a line is called in its panel."""
    if not panel.arm:
        return name
    return "as trained" if name == panel.arm else name.removeprefix(panel.arm)
