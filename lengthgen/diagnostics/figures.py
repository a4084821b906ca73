"""One figure a table of the diagnostics, in the layout of the others: small multiples, a panel for a layer and at most HEADS heads.

Tables that have no figure of their own are summaries of one that has. Byte-stable: the same table gives the same files.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lengthgen.diagnostics.findings import Table
from lengthgen.reporting.figures import drawing, layout

HEADS = 8  # lines in a panel
COLUMNS = 3  # panels in a row
WIDTH, HEIGHT, LEFT, RIGHT, GAP_X, GAP_Y, ABOVE, BELOW = (
    2.9,
    2.0,
    0.8,
    0.85,
    0.65,
    0.62,
    0.95,
    0.6,
)  # inches
ACCENT, SECOND = "#0072B2", "#D55E00"

Rows = list[dict[str, Any]]
Panel = tuple[str, Callable[[Axes], None]]  # title, what draws it


def write(table: Table, identity: Mapping[str, Any], train_length: int, folder: Path) -> list[Path]:
    """`folder`/NAME.png and .svg of a table that has a figure and rows. Returns the files."""
    if table.name not in DRAWN or not table.rows:
        return []
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(layout.STYLE)
        return drawing.save(drawn(table, identity, train_length), folder / table.name)


def drawn(table: Table, identity: Mapping[str, Any], train_length: int) -> Figure:
    """The figure of one table."""
    title, x_name, y_name, panels_of = DRAWN[table.name]
    panels = panels_of(table.rows, train_length)
    across = min(COLUMNS, len(panels))
    down = -(-len(panels) // across)
    size = (
        LEFT + across * WIDTH + (across - 1) * GAP_X + RIGHT,
        ABOVE + down * HEIGHT + (down - 1) * GAP_Y + BELOW,
    )
    figure = Figure(figsize=size, facecolor="white")
    of = f"{identity['scheme']}, seed {identity['seed']}, {identity['dataset']}, {identity['model']}, trained at {train_length:,} tokens"
    figure.text(0.14 / size[0], 1 - 0.1 / size[1], title, weight="bold", size=11, va="top")
    lines = "\n".join(textwrap.wrap(of, int(size[0] / 0.07)))
    figure.text(0.14 / size[0], 1 - 0.34 / size[1], lines, size=8.5, color=layout.GREY, va="top")
    for number, (name, draw) in enumerate(panels):
        row, column = divmod(number, across)
        x, y = LEFT + column * (WIDTH + GAP_X), size[1] - ABOVE - (row + 1) * HEIGHT - row * GAP_Y
        axes = figure.add_axes((x / size[0], y / size[1], WIDTH / size[0], HEIGHT / size[1]))
        axes.set_title(name, size=9, loc="left")
        draw(axes)
        if column == 0:
            axes.set_ylabel(y_name)
        if number + across >= len(panels) and not axes.get_xlabel():
            axes.set_xlabel(x_name)
    heads = [
        line for line in figure.axes[0].get_lines() if str(line.get_label()).startswith("head ")
    ]
    if heads:
        figure.legend(
            handles=heads,
            fontsize=7,
            loc="upper right",
            bbox_to_anchor=(1, 1 - ABOVE / size[1]),
            frameon=False,
        )
    return figure


def _by_head(
    rows: Rows, key: str, x: str, y: str, train_length: int, style: Callable[[Axes], None]
) -> list[Panel]:
    """A panel for each value of `key` and each HEADS heads, with a line a head."""
    panels = []
    for value in dict.fromkeys(row[key] for row in rows):
        own = [row for row in rows if row[key] == value]
        heads = list(dict.fromkeys(row["head"] for row in own))
        for start in range(0, len(heads), HEADS):
            some = heads[start : start + HEADS]

            def draw(axes: Axes, own: Rows = own, some: Sequence[int] = some) -> None:
                for place, head in enumerate(some):
                    colour = matplotlib.colormaps["viridis"](0.9 * place / max(1, len(some) - 1))
                    line = [
                        (row[x], row[y])
                        for row in own
                        if row["head"] == head and row[y] is not None
                    ]
                    axes.plot(
                        *np.array(line, dtype=float).T,
                        color=colour,
                        linewidth=1.3,
                        label=f"head {head}",
                    )
                _mark(axes, train_length)
                style(axes)

            name = f"layer{'s' if '-' in str(value) else ''} {value}"
            panels.append(
                (name if len(heads) <= HEADS else f"{name}, heads {some[0]}-{some[-1]}", draw)
            )
    return panels


def _mark(axes: Axes, train_length: int) -> None:
    axes.axvline(train_length, color=layout.GREY, linewidth=1, linestyle=(0, (4, 2)), zorder=1)


def _bias_curve(rows: Rows, train_length: int) -> list[Panel]:
    longest = max(row["offset"] for row in rows)
    first = [
        row for row in rows if (row["layers"], row["head"]) == (rows[0]["layers"], rows[0]["head"])
    ]

    def pairs(axes: Axes) -> None:
        axes.plot(
            [row["offset"] for row in first], [row["pairs"] for row in first], color=layout.GREY
        )
        _mark(axes, train_length)
        _offsets(axes, longest)

    panels = _by_head(
        rows, "layers", "offset", "centred", train_length, lambda axes: _offsets(axes, longest)
    )
    return [*panels, ("training pairs of each offset", pairs)]


def _offsets(axes: Axes, longest: int) -> None:
    axes.set_xscale("symlog", linthresh=1, base=10)
    axes.set_xlim(0, longest)


def _attention_spread(rows: Rows, train_length: int) -> list[Panel]:
    def style(axes: Axes) -> None:
        ends, means = zip(
            *sorted(
                {
                    (row["position_end"], (row["position"] + row["position_end"] + 1) / 2)
                    for row in rows
                }
            ),
            strict=True,
        )
        axes.plot(ends, means, color=layout.GREY, linewidth=1, linestyle=(0, (1.2, 1.2)), zorder=1)
        axes.set(xscale="log", yscale="log")

    return _by_head(rows, "layer", "position_end", "effective_keys", train_length, style)


def _receptive_field(rows: Rows, train_length: int) -> list[Panel]:
    def draw(axes: Axes) -> None:
        for length, colour in zip(
            sorted({row["eval_length"] for row in rows}), (ACCENT, SECOND), strict=False
        ):
            x, y, low, high = zip(
                *(
                    (row["tokens"], row["share"], row["low"], row["high"])
                    for row in rows
                    if row["eval_length"] == length
                ),
                strict=True,
            )
            axes.plot(x, y, color=colour, label=f"window of {length:,}")
            axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.axhline(0.99, color=layout.GREY, linewidth=0.8)
        _mark(axes, train_length)
        axes.set_xscale("log")
        axes.legend(fontsize=7, frameon=False)

    return [("mean and range over windows", draw)]


def _phase_coverage(rows: Rows, train_length: int) -> list[Panel]:
    def draw(axes: Axes) -> None:
        for key, colour, name in (
            ("turns_trained", ACCENT, "training"),
            ("turns_evaluated", SECOND, "longest window"),
        ):
            turning = [(row["pair"], row[key]) for row in rows if row[key] > 0]
            if turning:
                axes.plot(
                    *zip(*turning, strict=True),
                    color=colour,
                    marker="o",
                    markersize=3,
                    linewidth=1,
                    label=name,
                )
        axes.axhline(1, color=layout.GREY, linewidth=1, linestyle=(0, (4, 2)))
        axes.set_yscale("log")
        axes.legend(fontsize=7, frameon=False)

    return [("below the line: no whole turn", draw)]


def _probes(rows: Rows, train_length: int) -> list[Panel]:
    def panel(key: str, scale: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            for name, colour in (("within", ACCENT), ("beyond", SECOND)):
                line = [(row["layer"], row[key]) for row in rows if row["range"] == name]
                if line:
                    axes.plot(
                        *zip(*line, strict=True),
                        color=colour,
                        marker="o",
                        label=f"{name} {train_length:,}",
                    )
            axes.set_yscale(scale)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(fontsize=7, frameon=False)

        return draw

    return [
        ("R2 (0: as the mean)", panel("r2", "symlog")),
        ("error (tokens)", panel("error", "log")),
    ]


def _exposure(rows: Rows, train_length: int) -> list[Panel]:
    """Terms and movement of each counted parameter by the place that reads it; without one, the movement of each parameter."""
    by_place = [row for row in rows if row["by"] and row["parameter"] and row["first"] is not None]
    if not by_place:
        return [("root mean square change", lambda axes: _bars(axes, rows))]

    def panel(key: str, name: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            own = [row for row in by_place if row["parameter"] == name]
            axes.plot(
                [row["first"] + 1 for row in own],
                [row[key] for row in own],
                ".",
                color=ACCENT,
                markersize=2.5,
            )
            for row in rows:
                if not row["parameter"]:
                    axes.axvspan(
                        row["first"] + 1, row["last"] + 1, color=SECOND, alpha=0.13, linewidth=0
                    )
            _mark(axes, train_length)
            axes.set(xscale="log", yscale="log" if any(row[key] > 0 for row in own) else "linear")

        return draw

    names = dict.fromkeys(row["parameter"] for row in by_place)
    return [
        (f"{name}: {what}", panel(key, name))
        for name in names
        for key, what in (("terms", "terms a sequence"), ("moved", "change"))
    ]


def _bars(axes: Axes, rows: Rows) -> None:
    names = list(dict.fromkeys(row["parameter"] for row in rows))
    means = [np.mean([row["moved"] for row in rows if row["parameter"] == name]) for name in names]
    axes.barh(names, means, color=ACCENT)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("mean over its rows")


DRAWN: dict[
    str, tuple[str, str, str, Callable[[Rows, int], list[Panel]]]
] = {  # table -> title, x, y, panels
    "exposure": (
        "Gradient exposure of the positional parameters",
        "1 + first place that reads the entry",
        "",
        _exposure,
    ),
    "bias_curve": (
        "Bias by distance, centred at 0",
        "offset i - j (tokens)",
        "b(D) - b(0) (nats)",
        _bias_curve,
    ),
    "attention_spread": (
        "Effective keys by query position (dotted: uniform)",
        "query position",
        "exp(entropy)",
        _attention_spread,
    ),
    "receptive_field": (
        "Receptive field of the last hidden state",
        "last j tokens",
        "share of the gradient",
        _receptive_field,
    ),
    "phase_coverage": (
        "Turns that each rotary pair completes",
        "pair, from the fastest",
        "turns",
        _phase_coverage,
    ),
    "probes": ("Position read from the hidden states", "layer (0: embedding)", "", _probes),
}
