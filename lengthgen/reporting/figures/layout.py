"""The layout of figures: stacked panels, one line per scheme, and names that never overlap.

Without pyplot, which keeps global state. Sizes in inches; heights of names as shares of a panel.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from lengthgen.reporting.figures import glyphs, palette

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "text.parse_math": False,  # a name such as $x^{2$ is no mathematics
    "svg.hashsalt": "lengthgen",  # otherwise every SVG has new ids
}
GREY = "#555555"
LEFT, PLOT, RIGHT, BOTTOM = 0.95, 6.0, 0.55, 0.72  # margins and width of the plots
ROW = 0.185  # height of one name
FLOOR = "bigram table (above: untrained)"


def stack(
    heights: Sequence[float],
    title: tuple[str, str],
    names: Sequence[str],
    gap: float = 0.14,
    left: float = LEFT,
) -> tuple[Figure, list[Axes]]:
    """Stacked panels, with room on the right for the longest name and above for the title.

    left: the room for the labels of the y-axis.
    """
    width = left + PLOT + RIGHT + 0.07 * max(glyphs.width(name) for name in names)
    heading = textwrap.wrap(glyphs.written(title[0]), int(width / 0.092))
    lines = textwrap.wrap(glyphs.written(title[1]), int(width / 0.066))
    above = 0.42 + 0.2 * len(heading) + 0.165 * len(lines)
    height = above + sum(heights) + gap * (len(heights) - 1) + BOTTOM
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.text(
        0.14 / width, 1 - 0.1 / height, "\n".join(heading), weight="bold", size=11, va="top"
    )
    top = 1 - (0.16 + 0.2 * len(heading)) / height
    figure.text(
        0.14 / width, top, "\n".join(lines), size=8.5, color=GREY, va="top", linespacing=1.35
    )
    panels, y = [], height - above
    for panel_height in heights:
        y -= panel_height
        panels.append(
            figure.add_axes((left / width, y / height, PLOT / width, panel_height / height))
        )
        y -= gap
    return figure, panels


def heading(what: str, rows: pd.DataFrame) -> str:
    """`what`, and which experiment the rows are of."""
    first = rows.iloc[0]
    length = f"trained at {int(first['train_length']):,} tokens"
    return f"{what}: {first['dataset']}, {first['model']} model, {length}"


def line(
    axes: Axes,
    scheme: str,
    x: ArrayLike,
    y: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    markevery: int | tuple[int, int] = 1,
) -> None:
    """One scheme's values with their band, in its style. markevery: as in matplotlib."""
    style = palette.style(scheme)
    x, y, low, high = (np.asarray(values, np.float64) for values in (x, y, low, high))
    axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
    (drawn,) = axes.plot(
        x, y, color=style.colour, linestyle=style.line, marker=style.marker, markevery=markevery
    )
    drawn.set(markeredgecolor="white", markeredgewidth=0.5)


def floor(axes: Axes, x: ArrayLike, y: ArrayLike) -> None:
    """The floor of competence: a thin black line with its name at its left end."""
    x, y = (np.asarray(values, np.float64) for values in (x, y))
    axes.plot(x, y, color="black", linewidth=0.9, linestyle=(0, (1, 1.5)), zorder=1.5)
    text = axes.text(0.008, y[0], FLOOR, transform=axes.get_yaxis_transform())
    text.set(size=7.5, va="bottom", ha="left", color="black")
    text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6})


def name_ends(axes: Axes, ends: Mapping[str, tuple[float, float | None, str]]) -> None:
    """Names at the right, as near to the ends of their lines as others allow, joined to them.

    ends: scheme -> (x and y of the line's last point in data units, text). A line that ends outside
    the panel is named on that side, one without y (it ends earlier) at the bottom, both unjoined.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    height = axes.bbox.height / axes.figure.dpi  # inches
    points = {
        scheme: to_axes.transform((x, y)) if y is not None else (1.0, -np.inf)
        for scheme, (x, y, _) in ends.items()
    }
    wanted = sorted((1 - y, palette.order(scheme), scheme) for scheme, (_, y) in points.items())
    inset = ROW / 2 / height  # so that the names of two panels do not touch
    places = spread([target for target, _, _ in wanted], ROW / height, inset)
    for (_, _, scheme), place in zip(wanted, places, strict=True):
        name(axes, scheme, ends[scheme][2], 1 - place)
        x, y = points[scheme]
        if 0 <= y <= 1:
            leader = Line2D(
                [x, 1.0, 1.022],
                [y, y, 1 - place],
                transform=axes.transAxes,
                color=palette.style(scheme).colour,
                linewidth=0.6,
            )
            leader.set(clip_on=False, alpha=0.6, zorder=1)
            axes.add_artist(leader)


def name(axes: Axes, scheme: str, text: str, y: float) -> None:
    """A sample of the scheme's line and its name, right of the plot at height y, 0 to 1."""
    style = palette.style(scheme)
    sample = Line2D(
        [1.025, 1.05, 1.075],
        [y] * 3,
        transform=axes.transAxes,
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
    )
    sample.set(clip_on=False, markevery=[1], markeredgecolor="white", markeredgewidth=0.5)
    axes.add_artist(sample)
    axes.text(1.085, y, text, transform=axes.transAxes, va="center", ha="left", size=9)


def spread(wanted: Sequence[float], gap: float, inset: float = 0.0) -> list[float]:
    """Places in [inset, 1 - inset], at least `gap` apart and else as near to `wanted` as possible.

    wanted: ascending. Where there is no room for the gaps, they shrink alike.
    """
    # Isotonic regression of wanted - i * gap by pooling adjacent violators: neighbours that
    # collide share their mean.
    gap = min(gap, (1 - 2 * inset) / max(1, len(wanted) - 1))
    last = 1 - inset - gap * (len(wanted) - 1)
    blocks: list[list[float]] = []  # [place, members]
    for index, target in enumerate(wanted):
        blocks.append([min(max(target - index * gap, inset), last), 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            place, size = blocks.pop()
            before, members = blocks[-1]
            blocks[-1] = [(before * members + place * size) / (members + size), members + size]
    starts = [place for place, size in blocks for _ in range(int(size))]
    return [start + index * gap for index, start in enumerate(starts)]
