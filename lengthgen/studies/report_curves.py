"""The curves of a study in the HTML report: a chart, and its tables, for each text and L.

From values.csv: every arm, and every arm under a condition, is a line.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lengthgen.reporting.figures import palette
from lengthgen.reporting.page import chart_data, numbers
from lengthgen.reporting.page.content import Block, Cell, Chart, Fold, Table
from lengthgen.studies import study_folder
from lengthgen.studies.study_folder import Row

MEASURES = {"loss": "loss", "change": "loss_change", "excess": "excess"}  # -> a metric of charts
GROUP = ("dataset", "train_length", "corpus")


def blocks(name: str, values: Sequence[Row]) -> list[Block]:
    """Charts with their tables folded below them. values: rows of values.csv."""
    of_group: dict[tuple[Any, ...], list[Row]] = {}
    for row in study_folder.at_own_best(values):
        if row["measure"] in MEASURES:
            key = tuple(row[column] if row[column] == row[column] else "" for column in GROUP)
            of_group.setdefault(key, []).append(row)
    made: list[Block] = []
    tables: list[Block] = []
    for (dataset, train_length, corpus), rows in of_group.items():
        if len({row["eval_length"] for row in rows}) < 2:
            continue
        text = f", {corpus:,} tokens of text" if corpus else ""
        title = f"{name}, {dataset}{text}, trained at {train_length:,} tokens"
        data = _data(rows, int(train_length))
        made.append(Chart(title, data))
        tables += _tables(title, data)
    return [*made, Fold("All numbers of these curves, as tables", tables)] if made else []


def _data(rows: Sequence[Row], train_length: int) -> dict[str, Any]:
    """What chart_data.py says of a set-up, of these rows."""
    lengths = sorted({int(row["eval_length"]) for row in rows})
    schemes = {_name(row): row["scheme"] for row in rows}
    names = sorted(schemes, key=lambda name: (palette.order(schemes[name]), name))
    several = len(set(schemes.values())) < len(schemes)
    protocols = sorted({row["protocol"] for row in rows}, key=chart_data.protocol_order)
    measures = [each for each in MEASURES if any(row["measure"] == each for row in rows)]
    cells = {
        (row["protocol"], row["measure"], _name(row), int(row["eval_length"])): row for row in rows
    }
    values = {
        protocol: {
            MEASURES[measure]: {
                name: [_value(cells.get((protocol, measure, name, length))) for length in lengths]
                for name in names
            }
            for measure in measures
        }
        for protocol in protocols
    }
    lines = [
        chart_data.line(name, name if several else schemes[name], i < chart_data.SHOWN_FIRST)
        for i, name in enumerate(names)
    ]
    return {
        "train": train_length,
        "lengths": lengths,
        "protocols": protocols,
        "metrics": [chart_data.metric(MEASURES[measure]) for measure in measures],
        "lines": lines,
        "values": values,
        "floors": {protocol: [None for _ in lengths] for protocol in protocols},
        "said": {},
    }


def _tables(title: str, data: Mapping[str, Any]) -> list[Block]:
    """Of the first measure, which the others follow from."""
    first = data["metrics"][0]
    head = ("", *(f"{n:,} ({n / data['train']:.3g}×)" for n in data["lengths"]))
    made: list[Block] = []
    for protocol in data["protocols"]:
        of_name = data["values"][protocol][first["key"]]
        rows = [
            [Cell(name, code=True), *map(_cell, found)]
            for name, found in of_name.items()
            if any(found)
        ]
        caption = f"{title}: {first['title']}, {protocol}"
        made.append(Table(caption, ("subject", *head[1:]), rows, frozenset(range(1, len(head)))))
    return made


def _cell(found: Sequence[float] | None) -> Cell:
    if found is None:
        return Cell()
    return Cell(
        numbers.number(found[0]), numbers.interval(found[1], found[2]) if len(found) == 3 else ""
    )


def _name(row: Row) -> str:
    return f"{row['subject']} ({row['point']})" if row.get("point") else row["subject"]


def _value(row: Row | None) -> list[float] | None:
    if row is None or row["status"] != "ok" or not math.isfinite(row["value"]):
        return None
    ends = [float(row["low"]), float(row["high"])]
    known = all(math.isfinite(end) for end in ends)
    return [chart_data.rounded(number) for number in (row["value"], *(ends if known else ()))]
