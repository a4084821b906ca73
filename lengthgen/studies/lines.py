"""Lines of a study's figure: a style each within a panel, and bands.

A line whose scheme no other line of its panel has, or that is called as its scheme, keeps the
scheme's style of every figure. Where
a panel has several schemes, the others are shades of their scheme's colour; where it has one, they
have colours that differ. Markers and dashes differ in grey as well.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from lengthgen.reporting.figures import palette
from lengthgen.reporting.figures.look import scale
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
NOTES = {  # lines that are no result
    "exact floor": Style("#222222", "", (0, (1, 1.5))),
    "bigram table": Style("#222222", "", (0, (3, 1.2))),
}


def styles(schemes: Mapping[str, str], trained: Sequence[str]) -> dict[str, Style]:
    """Line -> style. schemes: line -> its scheme; trained: the lines of arms as trained."""
    drawn = [schemes[name] for name in trained]
    own = {
        name: palette.KNOWN[schemes[name]]
        for name in trained
        if schemes[name] in palette.KNOWN
        and (name == schemes[name] or drawn.count(schemes[name]) == 1)
    }
    taken = {key for style in own.values() for key in (style.colour, (style.marker, style.line))}
    free = [one for one in OTHERS if not {one.colour, (one.marker, one.line)} & taken]
    others = [name for name in schemes if name not in own]
    looks = {name: free[i % len(free)] for i, name in enumerate(others)}
    if len(set(schemes.values())) > 1:
        looks = {name: _shaded(look, schemes[name], name, schemes) for name, look in looks.items()}
    return own | looks


def _shaded(look: Style, scheme: str, name: str, schemes: Mapping[str, str]) -> Style:
    """In a shade of its scheme's colour, another one than the scheme's other lines."""
    if scheme not in palette.KNOWN:
        return look
    number = [line for line, of in schemes.items() if of == scheme].index(name)
    # from dark to light and back, so that neighbours are far apart
    order = (1, 4, 0, 3, 2)
    colour = palette.shade(palette.KNOWN[scheme].colour, order[number % len(order)])
    return Style(colour, look.marker, look.line)


def draw(axes: Axes, style: Style, points: Sequence[Point], floor: float = -np.inf) -> None:
    """A line with its band, which ends at `floor`; a single point has its interval as a bar."""
    x, value, low, high = (np.asarray(column, float) for column in zip(*points, strict=True))
    low = np.maximum(low, np.minimum(floor, value))
    if len(points) == 1:
        axes.vlines(x, low, high, color=style.colour, linewidth=1.6 * scale())
    axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
    (drawn,) = axes.plot(x, value, color=style.colour, linestyle=style.line, marker=style.marker)
    drawn.set(
        markeredgecolor=palette.edge(style), markeredgewidth=0.5 * scale(), markersize=5 * scale()
    )
