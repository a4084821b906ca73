"""What figures share: their style, one line per scheme with its band, the floor, the heading."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from lengthgen.reporting.figures.look import points, scale
from lengthgen.reporting.figures.palette import Style, edge

# As in matplotlib, at a page's size of text.
STYLE: dict[Any, Any] = {
    # DejaVu Sans ships with matplotlib. The others stand in for it where a reader of an SVG lacks
    # it: its letters are as wide as Verdana's, so that names keep their room.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Geneva"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "text.parse_math": False,  # a name such as $x^{2$ is no mathematics
    "svg.hashsalt": "lengthgen",  # otherwise every SVG has new ids
    "svg.fonttype": "none",  # text as text: searched, read aloud, translated
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "pgf.rcfonts": False,  # the document's fonts
}
SIZES = {  # points, which go with the text
    "font.size": 9.0, "lines.linewidth": 1.6, "lines.markersize": 5.5, "grid.linewidth": 0.7,
    "axes.linewidth": 0.8, "xtick.major.size": 3.5, "ytick.major.size": 3.5,
    "xtick.major.width": 0.8, "ytick.major.width": 0.8,
}  # fmt: skip
GREY = "#555555"
FLOOR = "bigram table (above: untrained)"


def heading(what: str, rows: pd.DataFrame) -> str:
    """`what`, and which experiment the rows are of."""
    first = rows.iloc[0]
    length = f"trained at {int(first['train_length']):,} tokens"
    return f"{what}: {first['dataset']}, {first['model']} model, {length}"


def line(
    axes: Axes,
    style: Style,
    x: ArrayLike,
    y: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    markevery: int | tuple[int, int] = 1,
) -> None:
    """A line's values with their band. markevery: as in matplotlib."""
    x, y, low, high = (np.asarray(values, np.float64) for values in (x, y, low, high))
    axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
    (drawn,) = axes.plot(
        x, y, color=style.colour, linestyle=style.line, marker=style.marker, markevery=markevery
    )
    drawn.set(markeredgecolor=edge(style), markeredgewidth=0.5 * scale())


def floor(axes: Axes, x: ArrayLike, y: ArrayLike, short: bool = False) -> None:
    """The floor of competence: a thin black line with its name, or half of it, at its left end."""
    x, y = (np.asarray(values, np.float64) for values in (x, y))
    axes.plot(x, y, color="black", linewidth=0.9 * scale(), linestyle=(0, (1, 1.5)), zorder=1.5)
    name = FLOOR.partition(" (")[0] if short else FLOOR
    text = axes.text(0.008, y[0], name, transform=axes.get_yaxis_transform())
    text.set(size=points(7.5), va="bottom", ha="left", color="black")
    text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6})
