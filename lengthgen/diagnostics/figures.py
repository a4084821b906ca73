"""A figure for each table of the diagnostics: small multiples, a panel for each layer.

Byte-stable: the same table gives the same files.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from lengthgen.diagnostics.findings import Table
from lengthgen.reporting.figures import drawing, layout, palette, ticks
from lengthgen.reporting.figures.look import PAGE, Look, inches, points, scale
from lengthgen.reporting.figures.sheet import Sheet

HEADS = 8  # lines in a panel
COLUMNS = 3  # panels in a row
WIDTH, HEIGHT, NEEDED = 2.9, 2.0, 2.3  # inches of a panel, and of its width with its labels
ACCENT, SECOND = "#0072B2", "#D55E00"
DASHED, DOTTED = (0, (4, 2)), (0, (1.2, 1.2))
DASHES = (palette.SOLID, palette.DASHED, palette.DASH_DOT, palette.DOTTED)  # of heads, in turn

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


def figure_of(
    table: Table, identity: Mapping[str, Any], train_length: int, look: Look = PAGE
) -> Sheet:
    """The figure of one table."""
    kind = DRAWN[table.name]
    panels = kind.panels_of(table.rows, train_length)
    most = COLUMNS if look.width is None else max(1, int(look.width / inches(NEEDED)))
    across = min(COLUMNS, len(panels), most)
    down = -(-len(panels) // across)
    about = "{scheme}, seed {seed}, {dataset}, {model}".format_map(
        {**identity, "scheme": look.name(identity["scheme"])}
    )
    sheet = Sheet((kind.title, f"{about}, trained at {train_length:,} tokens"), look)
    drawn = sheet.panels([HEIGHT] * down, across, WIDTH, gap=0.06)
    for number, (axes, (name, draw)) in enumerate(zip(drawn, panels, strict=False)):
        axes.set_title(name, size=points(9), loc="left")
        draw(axes)
        if number % across == 0 and not axes.get_ylabel():
            axes.set_ylabel(kind.y_label)
        ticks.plain(axes.xaxis)
        ticks.plain(axes.yaxis)
        if number + across >= len(panels) and not axes.get_xlabel():
            axes.set_xlabel(kind.x_label)
    for axes in drawn[len(panels) :]:
        axes.set_axis_off()
    curves = drawn[0].get_lines()
    heads = [curve for curve in curves if str(curve.get_label()).startswith("head ")]
    if heads:
        place: dict[str, Any] = {"loc": "outside right upper"}
        if look.width is not None:
            place = {"loc": "outside lower left", "ncols": max(1, int(look.width / inches(1.0)))}
        sheet.legend(handles=heads, fontsize=points(7), frameon=False, handlelength=3.2, **place)
    return sheet.fit()


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
                    dashes = DASHES[place % len(DASHES)]
                    style_of: dict[str, Any] = {"color": colour, "linestyle": dashes}
                    axes.plot(*line, linewidth=1.3 * scale(), label=f"head {head}", **style_of)
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
    axes.legend(fontsize=points(7), frameon=False)


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
        axes.set_ylabel("pairs")
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
        looks = ((ACCENT, palette.SOLID), (SECOND, palette.DASHED))
        for length, (colour, dashes) in zip(lengths, looks, strict=False):
            curve = [row for row in rows if row["eval_length"] == length]
            x, y, low, high = _columns(curve, "tokens", "share", "low", "high")
            axes.plot(x, y, color=colour, linestyle=dashes, label=f"window of {length:,}")
            axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.axhline(0.99, color=layout.GREY, linewidth=0.8)
        _mark(axes, train_length)
        axes.set_xscale("log")
        _legend(axes)

    return [("mean and range over windows", draw)]


def _phase_coverage(rows: TableRows, train_length: int) -> list[Panel]:
    lines = (
        ("turns_trained", ACCENT, "o", "training"),
        ("turns_evaluated", SECOND, "s", "longest window"),
    )

    def draw(axes: Axes) -> None:
        for key, colour, marker, name in lines:
            turning = [row for row in rows if row[key] > 0]
            if turning:
                x, y = _columns(turning, "pair", key)
                size: dict[str, Any] = {"markersize": 3 * scale(), "linewidth": scale()}
                axes.plot(x, y, color=colour, marker=marker, label=name, **size)
        axes.axhline(1, color=layout.GREY, linewidth=1, linestyle=DASHED)
        axes.set_yscale("log")
        _legend(axes)

    return [("below the line: no whole turn", draw)]


def _probes(rows: TableRows, train_length: int) -> list[Panel]:
    def panel(key: str, scale: str) -> Draw:
        def draw(axes: Axes) -> None:
            for name, colour, marker in (("within", ACCENT, "o"), ("beyond", SECOND, "s")):
                tested = [row for row in rows if row["range"] == name]
                if tested:
                    x, y = _columns(tested, "layer", key)
                    axes.plot(x, y, color=colour, marker=marker, label=f"{name} {train_length:,}")
            axes.set_yscale(scale)
            axes.locator_params(axis="x", integer=True)
            _legend(axes)

        return draw

    error = ("error (tokens)", panel("error", "log"))
    return [("R² (0: as the mean; logarithmic beyond ±1)", panel("r2", "symlog")), error]


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
    axes.tick_params(axis="y", labelsize=points(7))
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
        "Bias by distance, centred at 0",
        "offset i − j (tokens, logarithmic)", "b(D) − b(0) (nats)", _bias_curve,
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
