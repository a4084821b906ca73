"""A study's figure: the measure it shows, by evaluation length or by training tokens.

A panel for each dataset and training length. Lines: the arms, and their conditions if few. A scheme
with one line in a panel keeps its style of every figure.
"""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullLocator

from lengthgen.reporting.figures import layout, length_axis, palette
from lengthgen.studies.study_folder import Row

MOST_LINES = 12
LINEAR = 0.02  # nats: the axis is logarithmic beyond
Points = list[tuple[float, float, float, float]]  # x, value, low, high


def draw(title: str, details: str, rows: Sequence[Row], measure: str, axis: str) -> Figure:
    """rows: of values.csv, as study_folder.read gives them. axis: length | tokens."""
    panels: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        on_same_targets = row["protocol"] in ("matched", "whole")
        if row["measure"] == measure and row["status"] == "ok" and on_same_targets:
            panels.setdefault((row["dataset"], row["train_length"]), []).append(row)
    drawn = {key: (_lines(part, axis), _styles(part, axis)) for key, part in panels.items()}
    names = [name for lines, _ in drawn.values() for name in lines]
    heights = [max(2.6, layout.ROW * (len(lines) + 2)) for lines, _ in drawn.values()]
    figure, axes = layout.stack(heights, (title, details), names, gap=0.62)
    for panel, ((dataset, train_length), (lines, styles)) in zip(axes, drawn.items(), strict=True):
        _panel(panel, lines, styles, axis, train_length)
        panel.set_ylabel(f"{measure} (nats/token)")
        label = panel.text(
            0.0, 1.02, f"{dataset}, trained at {train_length}", transform=panel.transAxes
        )
        label.set(va="bottom", size=8.5, color=layout.GREY)
    axes[-1].set_xlabel(length_axis.LABEL if axis == "length" else "training tokens")
    return figure


def _lines(rows: Sequence[Row], axis: str) -> dict[str, Points]:
    if axis == "tokens":
        rows = [row for row in rows if row["eval_length"] == row["train_length"]]
    elif len({row["subject"] for row in rows}) > MOST_LINES:
        rows = [row for row in rows if "+" not in row["subject"]]
    lines: dict[str, Points] = {}
    for row in rows:
        x = row["tokens" if axis == "tokens" else "eval_length"]
        lines.setdefault(_name(row, axis), []).append((x, row["value"], row["low"], row["high"]))
    return {name: sorted(points) for name, points in lines.items()}


def _name(row: Row, axis: str) -> str:
    """With an axis of training tokens, arms whose names end in _N are points of one line."""
    return row["subject"].rpartition("_")[0] if axis == "tokens" else row["subject"]


def _styles(rows: Sequence[Row], axis: str) -> dict[str, str]:
    """Name -> scheme, whose style it gets, if no other line of the panel has that scheme."""
    schemes = {_name(row, axis): row["scheme"] for row in rows if "+" not in row["subject"]}
    drawn = list(schemes.values())
    return {name: scheme for name, scheme in schemes.items() if drawn.count(scheme) == 1}


def _panel(
    axes: Axes, lines: Mapping[str, Points], styles: Mapping[str, str], axis: str, train_length: int
) -> None:
    for name, points in lines.items():
        style = styles.get(name, name)
        layout.line(axes, style, *zip(*points, strict=True))
        if len(points) == 1:  # a single point has no band: its interval as a bar
            x, _, low, high = points[0]
            axes.vlines(x, low, high, color=palette.style(style).colour, linewidth=1.6)
    places = sorted({point[0] for points in lines.values() for point in points})
    if axis == "length":
        length_axis.draw(axes, places, train_length)
    else:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FixedFormatter([_count(tokens) for tokens in places]))
    _value_axis(axes, [point for points in lines.values() for point in points])
    ordered = sorted(lines.items(), key=lambda line: palette.order(line[0]))
    layout.name_ends(
        axes,
        {styles.get(name, name): (points[-1][0], points[-1][1], name) for name, points in ordered},
    )


def _value_axis(axes: Axes, points: Points) -> None:
    """Logarithmic beyond LINEAR where the values span more than a factor of five."""
    values = [value for _, value, _, _ in points if math.isfinite(value)]
    if not values or max(values) <= 10 * LINEAR or min(values) >= max(values) / 5:
        return
    axes.set_yscale("symlog", linthresh=LINEAR)
    if min((low for _, _, low, _ in points if math.isfinite(low)), default=0.0) > 0:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _count(tokens: float) -> str:
    return f"{tokens / 1e6:.2g}M" if tokens >= 1e6 else f"{tokens / 1e3:.0f}k"
