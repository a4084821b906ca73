"""Lines of a study's figure: a style each within a panel, bands, and names at their ends.

A line whose scheme no other line of its panel has keeps the scheme's style of every figure; the
others get colours, markers and dashes that differ from one another in grey as well.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lengthgen.reporting.figures import layout, palette
from lengthgen.reporting.figures.palette import DASH_DOT, DASHED, DOTTED, SOLID, Style

Point = tuple[float, float, float, float]  # x, value, low, high
# Okabe and Ito's colours from dark to light; no two neighbours share a marker or dashes.
OTHERS = (
    Style("#0072B2", "o", SOLID),
    Style("#D55E00", "s", DASHED),
    Style("#009E73", "^", DOTTED),
    Style("#882255", "D", DASH_DOT),
    Style("#56B4E9", "v", SOLID),
    Style("#E69F00", "P", DASHED),
    Style("#332288", "X", DOTTED),
    Style("#999933", "h", DASH_DOT),
)
NOTE = Style("#222222", "", (0, (3, 1.2)))  # floors and other lines that are no result


def styles(schemes: Mapping[str, str], trained: Sequence[str]) -> dict[str, Style]:
    """Line -> style. schemes: line -> its scheme; trained: the lines of arms as trained."""
    drawn = [schemes[name] for name in trained]
    own = {
        name: palette.KNOWN[schemes[name]]
        for name in trained
        if schemes[name] in palette.KNOWN and drawn.count(schemes[name]) == 1
    }
    taken = {key for style in own.values() for key in (style.colour, (style.marker, style.line))}
    free = [one for one in OTHERS if not {one.colour, (one.marker, one.line)} & taken]
    others = [name for name in schemes if name not in own]
    return own | {name: free[i % len(free)] for i, name in enumerate(others)}


def draw(axes: Axes, style: Style, points: Sequence[Point], floor: float = -np.inf) -> None:
    """A line with its band, which ends at `floor`; a single point has its interval as a bar."""
    x, value, low, high = (np.asarray(column, float) for column in zip(*points, strict=True))
    low = np.maximum(low, np.minimum(floor, value))
    if len(points) == 1:
        axes.vlines(x, low, high, color=style.colour, linewidth=1.6)
    axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
    (drawn,) = axes.plot(x, value, color=style.colour, linestyle=style.line, marker=style.marker)
    drawn.set(markeredgecolor="white", markeredgewidth=0.5, markersize=5)


def name_ends(axes: Axes, ends: Mapping[str, tuple[Style, float, float]]) -> None:
    """Names right of the panel, as near to the ends of their lines as others allow, joined to them.

    ends: name -> (style, x, y in data units).
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    height = axes.bbox.height / axes.figure.dpi  # inches
    places = {
        name: to_axes.transform((x, y)) if np.isfinite(y) else (1.0, 0.0)
        for name, (_, x, y) in ends.items()
    }
    order = sorted(ends, key=lambda name: -min(1.0, max(0.0, places[name][1])))
    wanted = [1 - min(1.0, max(0.0, places[name][1])) for name in order]
    inset = layout.ROW / 2 / height
    width = axes.bbox.width / axes.figure.dpi

    def right(inches: float) -> float:
        return 1.0 + inches / width

    for name, place in zip(order, layout.spread(wanted, layout.ROW / height, inset), strict=True):
        style, at = ends[name][0], places[name]
        sample = Line2D(
            [right(0.14), right(0.28), right(0.42)],
            [1 - place] * 3,
            transform=axes.transAxes,
            color=style.colour,
            linestyle=style.line,
            marker=style.marker,
        )
        sample.set(clip_on=False, markevery=[1], markeredgecolor="white", markeredgewidth=0.5)
        leader = Line2D(
            [min(1.0, at[0]), 1.0, right(0.13)],
            [at[1], at[1], 1 - place],
            transform=axes.transAxes,
            color=style.colour,
            linewidth=0.6,
        )
        leader.set(clip_on=False, alpha=0.6, zorder=1)
        axes.add_artist(sample)
        if 0 <= at[1] <= 1:
            axes.add_artist(leader)
        axes.text(right(0.47), 1 - place, name, transform=axes.transAxes, va="center", size=8.5)
