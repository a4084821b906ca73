"""Parts of a study's summary that only some studies have: repairs, costs to decide by, effective context, published orders."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lengthgen.reporting import text_tables
from lengthgen.studies import markdown

Row = Mapping[str, str]


def repairs(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    said = "Share of what an arm loses beyond its training length that a condition gives back; no weight is trained for it."
    return [
        "## Repairs",
        "",
        said,
        "",
        *markdown.grid(rows, lambda row: f"{row['arm']}+{row['condition']}", "recovered"),
        "",
    ]


def context(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    said = "Symbols of a document that the best predictor would have to see to have this loss [95 % interval]."
    lengths = sorted({int(row["eval_length"]) for row in rows})
    cells = {
        (row["subject"], int(row["eval_length"])): "{:.0f} [{:.0f}, {:.0f}]".format(
            *_numbers(row, "tokens", "low", "high")
        )
        for row in rows
    }
    table = text_tables.grid(cells, dict.fromkeys(row["subject"] for row in rows), lengths)
    return ["## Effective context", "", said, "", *table, ""]


def information(rows: Sequence[Row]) -> list[str]:
    """Mutual information of the texts at a few distances, and where it peaks."""
    if not rows:
        return []
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        found.setdefault(row["dataset"], {})[int(row["lag"])] = float(row["nats"])
    said = "Between a byte and the one so many bytes later, nats; every distance is in information.csv. Peaks: above both neighbours."
    shown = [
        lag
        for lag in (1, 2, 4, 8, 15, 16, 17, 31, 32)
        if all(lag in curve for curve in found.values())
    ]
    lines = []
    for dataset, curve in found.items():
        peaks = [
            lag
            for lag in curve
            if lag > 1 and curve[lag] > curve[lag - 1] and curve[lag] > curve.get(lag + 1, 0.0)
        ]
        highest = sorted(sorted(peaks, key=lambda lag: -curve[lag])[:3])
        lines.append(
            [
                dataset,
                *(f"{curve[lag]:.3f}" for lag in shown),
                ", ".join(map(str, highest)) or "none",
            ]
        )
    table = text_tables.markdown(
        ["text", *map(str, shown), "highest peaks"], lines, "l" + "r" * len(shown) + "l"
    )
    return ["## Mutual information by distance", "", said, "", *table, ""]


def key_tokens(rows: Sequence[Row]) -> list[str]:
    """How many tokens long context decides, and the loss there, or why none is given."""
    if not rows:
        return []
    reasons = sorted({row["reason"] for row in rows if row["status"] != "ok"})
    parts = [
        "## Tokens that long context decides",
        "",
        f"{rows[0]['n_key_tokens']} of {rows[0]['n_tokens']} targets; each seed is in key_tokens.csv.",
    ]
    parts += [f"No loss is given: {reason}." for reason in reasons]
    return [*parts, ""]


def costs(rows: Sequence[Row], values: Sequence[Row]) -> list[str]:
    """The table to decide by: loss at every length beyond training, time and memory, and who is beaten by nobody."""
    if not rows:
        return []
    loss = {
        (row["subject"], int(row["eval_length"])): float(row["value"])
        for row in values
        if row["measure"] == "loss"
        and row["protocol"] == "matched"
        and row["status"] == "ok"
        and row["eval_length"] != row["train_length"]
    }
    lengths = sorted({length for _, length in loss})
    at = rows[0]["eval_length"]
    said = (
        f"Loss on matched targets (nats/token); time of a forward pass over {at} tokens, also against the arm as it was trained; memory "
        "above the model. **Bold**: no other row has a lower loss at that length and takes neither more time nor more memory."
    )
    head = [
        "",
        *(f"loss at {length}" for length in lengths),
        "ms",
        "time of trained [least, most]",
        "MiB",
    ]
    lines = []
    for row in rows:
        cells = [_best(rows, loss, row, length) for length in lengths]
        milliseconds, mib = _numbers(row, "milliseconds", "mib")
        ratio = "{:.2f} [{:.2f}, {:.2f}]".format(*_numbers(row, "of_trained", "low", "high"))
        lines.append([row["subject"], *cells, f"{milliseconds:.1f}", ratio, f"{mib:.1f}"])
    return ["## What it costs", "", said, "", *text_tables.markdown(head, lines, "lr"), ""]


def _best(rows: Sequence[Row], loss: Mapping[tuple[str, int], float], row: Row, length: int) -> str:
    own = loss.get((row["subject"], length))
    if own is None:
        return ""
    cost = _numbers(row, "milliseconds", "mib")
    better = [
        _numbers(other, "milliseconds", "mib")
        for other in rows
        if loss.get((other["subject"], length), own) < own
    ]
    beaten = any(time <= cost[0] and memory <= cost[1] for time, memory in better)
    return f"{own:.3f}" if beaten else f"**{own:.3f}**"


def orders(published: Sequence[Mapping[str, Any]], values: Sequence[Row]) -> list[str]:
    """The published orders, and the study's own under every protocol."""
    if not published:
        return []
    lines = [
        "## Orders, worst first",
        "",
        "In order only: other data, model size and training.",
        "",
        "| order | |",
        "|---|---|",
    ]
    for one in published:
        lines.append(f"| {one['source']} | {' > '.join(one['worst_first'])} |")
        for protocol, order in _own_orders(one, values):
            same = "the same" if order == list(one["worst_first"]) else "**another**"
            lines.append(
                f"| here, {protocol}, at {one['length_factor']:g} L: {same} | {' > '.join(order)} |"
            )
    return [*lines, ""]


def _own_orders(one: Mapping[str, Any], values: Sequence[Row]) -> Iterator[tuple[str, list[str]]]:
    losses: dict[str, dict[str, float]] = {}
    for row in values:
        at = float(row["eval_length"]) / float(row["train_length"])
        if (
            row["measure"] == "loss"
            and row["subject"] in one["worst_first"]
            and abs(at - one["length_factor"]) < 1e-6
            and row["status"] == "ok"
        ):
            losses.setdefault(row["protocol"], {})[row["subject"]] = float(row["value"])
    for protocol, found in losses.items():
        yield protocol, sorted(found, key=lambda name: -found[name])


def _numbers(row: Row, *columns: str) -> tuple[float, ...]:
    return tuple(float(row[column] or "nan") for column in columns)
