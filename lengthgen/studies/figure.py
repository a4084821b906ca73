"""A study's figure from its values.csv: the measure it shows, by evaluation length or by training tokens. Matplotlib alone; no torch.

A panel for each dataset and training length. Lines: the arms, and their conditions where that leaves the panel readable; a scheme that has
one line in a panel is drawn in the style that it has in every figure.
"""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullLocator

from lengthgen.reporting.figures import layout, palette

MOST_LINES = 12
LINEAR = 0.02  # nats: the axis is logarithmic beyond
Row = Mapping[str, str]


def draw(title: str, details: str, rows: Sequence[Row], measure: str, axis: str) -> Figure:
    """rows: of values.csv, as text. axis: length | tokens."""
    shown = [
        row
        for row in rows
        if row["measure"] == measure
        and row["protocol"] in ("matched", "whole")
        and row["status"] == "ok"
    ]
    panels = {}
    for row in shown:
        panels.setdefault((row["dataset"], row["train_length"]), []).append(row)
    drawn = {key: (_lines(part, axis), _styles(part, axis)) for key, part in panels.items()}
    names = [name for lines, _ in drawn.values() for name in lines]
    heights = [max(2.6, layout.ROW * (len(lines) + 2)) for lines, _ in drawn.values()]
    figure, axes = layout.stack(heights, (title, details), names, gap=0.62)
    for panel, ((dataset, train_length), (lines, styles)) in zip(axes, drawn.items(), strict=True):
        _panel(panel, lines, styles, axis, int(train_length))
        panel.set_ylabel(f"{measure} (nats/token)")
        panel.text(
            0.0,
            1.02,
            f"{dataset}, trained at {train_length}",
            transform=panel.transAxes,
            va="bottom",
            size=8.5,
            color=layout.GREY,
        )
    axes[-1].set_xlabel(
        "evaluation length (tokens, and as a multiple of the training length)"
        if axis == "length"
        else "training tokens"
    )
    return figure


def _lines(rows: Sequence[Row], axis: str) -> dict[str, list[tuple[float, ...]]]:
    """Name -> points (x, value, low, high)."""
    if axis == "tokens":
        rows = [row for row in rows if row["eval_length"] == row["train_length"]]
    elif len({row["subject"] for row in rows}) > MOST_LINES:
        rows = [row for row in rows if "+" not in row["subject"]]
    lines = {}
    for row in rows:
        x = (
            float(row["tokens"])
            if axis == "tokens"
            else float(row["eval_length"]) / float(row["train_length"])
        )
        lines.setdefault(_name(row, axis), []).append(
            (x, *(float(row[column] or "nan") for column in ("value", "low", "high")))
        )
    return {name: sorted(points) for name, points in lines.items()}


def _name(row: Row, axis: str) -> str:
    return row["subject"].rpartition("_")[0] if axis == "tokens" else row["subject"]


def _styles(rows: Sequence[Row], axis: str) -> dict[str, str]:
    """Name -> the name that the palette knows its style by: the scheme's, if no other arm of the panel has that scheme."""
    schemes = {_name(row, axis): row["scheme"] for row in rows if "+" not in row["subject"]}
    return {
        name: scheme
        for name, scheme in schemes.items()
        if list(schemes.values()).count(scheme) == 1
    }


def _panel(
    axes: Axes,
    lines: Mapping[str, list[tuple[float, ...]]],
    styles: Mapping[str, str],
    axis: str,
    train_length: int,
) -> None:
    for name, points in lines.items():
        layout.line(axes, styles.get(name, name), *zip(*points, strict=True))
        if len(points) == 1:  # no band to see: its interval as a bar
            x, _, low, high = points[0]
            axes.vlines(
                x, low, high, color=palette.style(styles.get(name, name)).colour, linewidth=1.6
            )
    ticks = sorted({point[0] for points in lines.values() for point in points})
    axes.set_xscale("log", base=2 if axis == "length" else 10)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FixedFormatter(
            [
                f"{tick * train_length:,.0f}\n{tick:.3g}×" if axis == "length" else _count(tick)
                for tick in ticks
            ]
        )
    )
    values = [
        value for points in lines.values() for _, value, _, _ in points if math.isfinite(value)
    ]
    if values and max(values) > 10 * LINEAR and min(values) < max(values) / 5:
        lows = [low for points in lines.values() for _, _, low, _ in points if math.isfinite(low)]
        axes.set_yscale("symlog", linthresh=LINEAR)
        if min(lows, default=0.0) > 0:
            axes.set_ylim(bottom=0)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ordered = sorted(lines.items(), key=lambda line: palette.order(line[0]))
    layout.name_ends(
        axes,
        {styles.get(name, name): (points[-1][0], points[-1][1], name) for name, points in ordered},
    )


def _count(tokens: float) -> str:
    return f"{tokens / 1e6:.2g}M" if tokens >= 1e6 else f"{tokens / 1e3:.0f}k"
