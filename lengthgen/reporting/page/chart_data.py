"""The numbers behind a chart: every protocol and metric of a set-up, as curves.js reads them.

{train, lengths, protocols, metrics: [{key, title, unit, log}], lines: [{name, colour, dark, dash,
on}], values: {protocol: {metric: {name: [[value, low, high] or null, ...]}}}, floors: {protocol:
[...]}, said: {protocol: {name: {length: word}}}}: a value for each of `lengths`, in that order.
"""

import colorsys
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lengthgen.reporting import tables
from lengthgen.reporting.figures import palette
from lengthgen.reporting.page import words

# Column of tables.SUMMARY -> its name, its unit, whether its axis is logarithmic.
METRICS: dict[str, tuple[str, str, bool]] = {
    "loss": ("loss", "nats/token", False),
    "loss_change": ("change of the loss from the training length", "nats/token, paired", False),
    "perplexity": ("perplexity", "per token", True),
    "bits_per_byte": ("bits per byte", "bits/byte", False),
    "below_bigram": ("what the loss is below the bigram table", "nats/token, paired", False),
    "excess": ("excess over the exact floor", "nats/token", False),
    "exact_match": ("exact match", "share of documents", False),
}
SHOWN_FIRST = 12  # lines that are on at first; a figure of more would be a thicket
VERDICTS_OF = "matched"
FIRST_PROTOCOLS = ("matched", "whole")
BRIGHT = 0.40  # relative luminance that a line has at least on a dark page


def chart_data(summary: pd.DataFrame, verdict_rows: pd.DataFrame) -> dict[str, Any]:
    """summary: rows of tables.SUMMARY of one group; verdict_rows: its rows of verdicts.csv."""
    curves = summary[~summary["protocol"].isin(_of_one_length(summary))]
    lengths = sorted({int(length) for length in curves["eval_length"]})
    names = sorted(curves["scheme"].unique(), key=palette.order)
    values: dict[str, Any] = {}
    floors: dict[str, Any] = {}
    protocols = sorted(curves["protocol"].unique(), key=protocol_order)
    for protocol in protocols:
        rows = tables.as_rows(curves[curves["protocol"] == protocol])
        of_cell = {(row["scheme"], int(row["eval_length"])): row for row in rows}
        values[protocol] = {
            key: {name: [_value(of_cell.get((name, n)), key) for n in lengths]
                     for name in names}
            for key in METRICS
            if curves[key].notna().any()
        }  # fmt: skip
        floors[protocol] = [_floor(rows, length) for length in lengths]
    return {
        "train": int(summary["train_length"].iloc[0]),
        "lengths": lengths,
        "protocols": protocols,
        "metrics": [metric(key) for key in METRICS if curves[key].notna().any()],
        "lines": [line(name, name, i < SHOWN_FIRST) for i, name in enumerate(names)],
        "values": values,
        "floors": floors,
        "said": {protocol: _said(curves, verdict_rows, protocol) for protocol in protocols},
    }


def on_dark(colour: str) -> str:
    """#rrggbb, made light enough to be seen on a dark page; its hue stays."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    while _luminance(red, green, blue) < BRIGHT * BRIGHT and lightness < 0.95:
        lightness += 0.02
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * channel):02X}" for channel in (red, green, blue))


def _luminance(*channels: float) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(
        weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )


def _said(
    curves: pd.DataFrame, verdict_rows: pd.DataFrame, protocol: str
) -> dict[str, dict[str, str]]:
    """Scheme -> length -> why there is no value or, of the matched protocol, the verdict."""
    said: dict[str, dict[str, str]] = {}
    rows = tables.as_rows(verdict_rows) if protocol == VERDICTS_OF else []
    rows += tables.as_rows(curves[(curves["protocol"] == protocol) & (curves["status"] != "ok")])
    for row in rows:
        word = words.shown(row.get("word") or row["status"])
        said.setdefault(row["scheme"], {})[str(int(row["eval_length"]))] = word
    return said


def _of_one_length(summary: pd.DataFrame) -> list[str]:
    """Protocols without a curve, unless none has one."""
    counts = summary.groupby("protocol")["eval_length"].nunique()
    single = [str(name) for name, count in counts.items() if count < 2]
    return single if len(single) < len(counts) else []


def protocol_order(protocol: str) -> tuple[bool, str]:
    """Sort key: the protocol with the same targets at every length first."""
    return protocol not in FIRST_PROTOCOLS, protocol


def _value(row: Mapping[str, Any] | None, key: str) -> Sequence[float] | None:
    """[value, low, high], or [value] without an interval."""
    if row is None or row["status"] != "ok" or not math.isfinite(row[key]):
        return None
    ends = [row.get(name, math.nan) for name in tables.ends(key)[1:]]
    known = all(math.isfinite(end) for end in ends)
    return [rounded(number) for number in (row[key], *(ends if known else ()))]


def _floor(rows: Sequence[Mapping[str, Any]], length: int) -> float | None:
    """The loss of the bigram table there, which is the same for every scheme."""
    known = [row["bigram"] for row in rows if int(row["eval_length"]) == length]
    known = [number for number in known if math.isfinite(number)]
    return rounded(known[0]) if known else None


def rounded(number: float) -> float:
    """Five significant digits: more than a chart shows."""
    return float(f"{number:.5g}")


def metric(key: str) -> dict[str, Any]:
    """One of METRICS, as a chart has it."""
    title, unit, log = METRICS[key]
    return {"key": key, "title": title, "unit": unit, "log": log}


def line(name: str, styled: str, shown: bool) -> dict[str, Any]:
    """A curve, in the colour and dashes that the figures give to the label `styled`."""
    style = palette.style(styled)
    dash = [round(2 * part, 1) for part in style.line[1]]
    return {
        "name": name,
        "colour": style.colour,
        "dark": on_dark(style.colour),
        "dash": dash,
        "on": shown,
    }
