"""A figure for each table of the diagnostics: small multiples, a panel for each layer.

Byte-stable: the same table gives the same files.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lengthgen.diagnostics.findings import Table
from lengthgen.reporting.figures import drawing, layout

HEADS = 8  # lines in a panel
COLUMNS = 3  # panels in a row
# Inches: a panel, the margins left and right, between panels, above and below.
WIDTH, HEIGHT, LEFT, RIGHT, GAP_X, GAP_Y, ABOVE, BELOW = 2.9, 2.0, 0.8, 0.85, 0.65, 0.62, 0.95, 0.6
ACCENT, SECOND = "#0072B2", "#D55E00"
DASHED, DOTTED = (0, (4, 2)), (0, (1.2, 1.2))

TableRows = list[dict[str, Any]]
Draw = Callable[[Axes], None]
Panel = tuple[str, Draw]  # title, what draws it


def save_figure(
    table: Table, identity: Mapping[str, Any], train_length: int, folder: Path
) -> list[Path]:
    """`folder`/NAME.png and .svg of a table that has a figure and rows. Returns the files."""
    if table.name not in DRAWN or not table.rows:
        return []
    with drawing.fixed_style():
        return drawing.save(figure_of(table, identity, train_length), folder / table.name)


def figure_of(table: Table, identity: Mapping[str, Any], train_length: int) -> Figure:
    """The figure of one table."""
    kind = DRAWN[table.name]
    panels = kind.panels_of(table.rows, train_length)
    across = min(COLUMNS, len(panels))
    down = -(-len(panels) // across)
    width = LEFT + across * WIDTH + (across - 1) * GAP_X + RIGHT
    height = ABOVE + down * HEIGHT + (down - 1) * GAP_Y + BELOW
    figure = Figure(figsize=(width, height), facecolor="white")
    about = "{scheme}, seed {seed}, {dataset}, {model}".format_map(identity)
    subtitle = f"{about}, trained at {train_length:,} tokens"
    figure.text(0.14 / width, 1 - 0.1 / height, kind.title, weight="bold", size=11, va="top")
    lines = "\n".join(textwrap.wrap(subtitle, int(width / 0.07)))
    figure.text(0.14 / width, 1 - 0.34 / height, lines, size=8.5, color=layout.GREY, va="top")
    for number, (name, draw) in enumerate(panels):
        row, column = divmod(number, across)
        x, y = LEFT + column * (WIDTH + GAP_X), height - ABOVE - (row + 1) * HEIGHT - row * GAP_Y
        axes = figure.add_axes((x / width, y / height, WIDTH / width, HEIGHT / height))
        axes.set_title(name, size=9, loc="left")
        draw(axes)
        if column == 0:
            axes.set_ylabel(kind.y_label)
        if number + across >= len(panels) and not axes.get_xlabel():
            axes.set_xlabel(kind.x_label)
    curves = figure.axes[0].get_lines()
    heads = [curve for curve in curves if str(curve.get_label()).startswith("head ")]
    if heads:
        corner = (1, 1 - ABOVE / height)
        figure.legend(
            handles=heads, fontsize=7, loc="upper right", bbox_to_anchor=corner, frameon=False
        )
    return figure


def _by_head(
    rows: TableRows, key: str, x: str, y: str, train_length: int, style: Draw
) -> list[Panel]:
    """A panel for each value of `key` and each HEADS heads, with a line a head."""
    panels: list[Panel] = []
    for value in dict.fromkeys(row[key] for row in rows):
        of_value = [row for row in rows if row[key] == value]
        heads = list(dict.fromkeys(row["head"] for row in of_value))
        for start in range(0, len(heads), HEADS):
            group = heads[start : start + HEADS]

            # defaults keep this turn's values: the panel is drawn after the loop
            def draw(axes: Axes, rows: TableRows = of_value, group: Sequence[int] = group) -> None:
                for place, head in enumerate(group):
                    colour = matplotlib.colormaps["viridis"](0.9 * place / max(1, len(group) - 1))
                    of_head = [row for row in rows if row["head"] == head and row[y] is not None]
                    line = np.array(_columns(of_head, x, y), dtype=float)
                    axes.plot(*line, color=colour, linewidth=1.3, label=f"head {head}")
                _mark(axes, train_length)
                style(axes)

            name = f"layer{'s' if '-' in str(value) else ''} {value}"
            if len(heads) > HEADS:
                name += f", heads {group[0]}-{group[-1]}"
            panels.append((name, draw))
    return panels


def _columns(rows: TableRows, *keys: str) -> list[list]:
    return [[row[key] for row in rows] for key in keys]


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=7, frameon=False)


def _mark(axes: Axes, train_length: int) -> None:
    axes.axvline(train_length, color=layout.GREY, linewidth=1, linestyle=DASHED, zorder=1)


def _bias_curve(rows: TableRows, train_length: int) -> list[Panel]:
    longest = max(row["offset"] for row in rows)
    curve = (rows[0]["layers"], rows[0]["head"])
    first = [row for row in rows if (row["layers"], row["head"]) == curve]

    def offsets(axes: Axes) -> None:
        axes.set_xscale("symlog", linthresh=1, base=10)
        axes.set_xlim(0, longest)

    def pairs(axes: Axes) -> None:
        axes.plot(*_columns(first, "offset", "pairs"), color=layout.GREY)
        _mark(axes, train_length)
        offsets(axes)

    panels = _by_head(rows, "layers", "offset", "centred", train_length, offsets)
    return [*panels, ("training pairs of each offset", pairs)]


def _attention_spread(rows: TableRows, train_length: int) -> list[Panel]:
    bins = sorted({(row["position"], row["position_end"]) for row in rows})
    ends = [end for _, end in bins]
    means = [(start + end + 1) / 2 for start, end in bins]

    def style(axes: Axes) -> None:
        axes.plot(ends, means, color=layout.GREY, linewidth=1, linestyle=DOTTED, zorder=1)
        axes.set(xscale="log", yscale="log")

    return _by_head(rows, "layer", "position_end", "effective_keys", train_length, style)


def _receptive_field(rows: TableRows, train_length: int) -> list[Panel]:
    def draw(axes: Axes) -> None:
        lengths = sorted({row["eval_length"] for row in rows})
        for length, colour in zip(lengths, (ACCENT, SECOND), strict=False):
            curve = [row for row in rows if row["eval_length"] == length]
            x, y, low, high = _columns(curve, "tokens", "share", "low", "high")
            axes.plot(x, y, color=colour, label=f"window of {length:,}")
            axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.axhline(0.99, color=layout.GREY, linewidth=0.8)
        _mark(axes, train_length)
        axes.set_xscale("log")
        _legend(axes)

    return [("mean and range over windows", draw)]


def _phase_coverage(rows: TableRows, train_length: int) -> list[Panel]:
    lines = (("turns_trained", ACCENT, "training"), ("turns_evaluated", SECOND, "longest window"))

    def draw(axes: Axes) -> None:
        for key, colour, name in lines:
            turning = [row for row in rows if row[key] > 0]
            if turning:
                x, y = _columns(turning, "pair", key)
                axes.plot(x, y, color=colour, marker="o", markersize=3, linewidth=1, label=name)
        axes.axhline(1, color=layout.GREY, linewidth=1, linestyle=DASHED)
        axes.set_yscale("log")
        _legend(axes)

    return [("below the line: no whole turn", draw)]


def _probes(rows: TableRows, train_length: int) -> list[Panel]:
    def panel(key: str, scale: str) -> Draw:
        def draw(axes: Axes) -> None:
            for name, colour in (("within", ACCENT), ("beyond", SECOND)):
                tested = [row for row in rows if row["range"] == name]
                if tested:
                    x, y = _columns(tested, "layer", key)
                    axes.plot(x, y, color=colour, marker="o", label=f"{name} {train_length:,}")
            axes.set_yscale(scale)
            axes.locator_params(axis="x", integer=True)
            _legend(axes)

        return draw

    error = ("error (tokens)", panel("error", "log"))
    return [("R2 (0: as the mean)", panel("r2", "symlog")), error]


def _exposure(rows: TableRows, train_length: int) -> list[Panel]:
    """Terms and movement of each counted parameter by place; else movement alone."""
    by_place = [row for row in rows if row["by"] and row["parameter"] and row["first"] is not None]
    if not by_place:
        return [("root mean square change", lambda axes: _bars(axes, rows))]
    unread = [(row["first"], row["last"]) for row in rows if not row["parameter"]]

    def panel(key: str, name: str) -> Draw:
        def draw(axes: Axes) -> None:
            entries = [row for row in by_place if row["parameter"] == name]
            x, y = [row["first"] + 1 for row in entries], [row[key] for row in entries]
            axes.plot(x, y, ".", color=ACCENT, markersize=2.5)
            for first, last in unread:
                axes.axvspan(first + 1, last + 1, color=SECOND, alpha=0.13, linewidth=0)
            _mark(axes, train_length)
            axes.set(xscale="log", yscale="log" if max(y) > 0 else "linear")

        return draw

    return [
        (f"{name}: {what}", panel(key, name))
        for name in dict.fromkeys(row["parameter"] for row in by_place)
        for key, what in (("terms", "terms a sequence"), ("moved", "change"))
    ]


def _bars(axes: Axes, rows: TableRows) -> None:
    names = list(dict.fromkeys(row["parameter"] for row in rows))
    means = [np.mean([row["moved"] for row in rows if row["parameter"] == name]) for name in names]
    axes.barh(names, means, color=ACCENT)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("mean over its rows")


class FigureKind(NamedTuple):
    title: str
    x_label: str
    y_label: str
    panels_of: Callable[[TableRows, int], list[Panel]]  # of the table's rows and train_length


DRAWN = {
    "exposure": FigureKind(
        "Gradient exposure of the positional parameters",
        "1 + first place that reads the entry", "", _exposure,
    ),
    "bias_curve": FigureKind(
        "Bias by distance, centred at 0", "offset i - j (tokens)", "b(D) - b(0) (nats)", _bias_curve
    ),
    "attention_spread": FigureKind(
        "Effective keys by query position (dotted: uniform)",
        "query position", "exp(entropy)", _attention_spread,
    ),
    "receptive_field": FigureKind(
        "Receptive field of the last hidden state",
        "last j tokens", "share of the gradient", _receptive_field,
    ),
    "phase_coverage": FigureKind(
        "Turns that each rotary pair completes", "pair, from the fastest", "turns", _phase_coverage
    ),
    "probes": FigureKind(
        "Position read from the hidden states", "layer (0: embedding)", "", _probes
    ),
}  # fmt: skip
