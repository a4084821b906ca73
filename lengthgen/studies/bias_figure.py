"""The learned bias of every head against distance: a panel for each arm, the first seed.

A line's style is the form that explains most of it: so that a panel says at a look whether the bias
is a penalty of the distance, a logarithm of it, a wave, or nothing.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure as Drawn
from matplotlib.ticker import FuncFormatter

from lengthgen.reporting.figures import layout
from lengthgen.reporting.figures.palette import DASHED, DOTTED, SOLID, Style
from lengthgen.studies.study_folder import Row

LOOKS = {
    "linear": Style("#0072B2", "", DASHED),
    "log": Style("#D55E00", "", SOLID),
    "periodic": Style("#009E73", "", DOTTED),
    "constant": Style("#9a9a9a", "", SOLID),
}
COLUMNS, WIDTH, HEIGHT, LEFT, BESIDE, BELOW = 4, 1.95, 1.6, 0.62, 0.42, 0.62  # inches


def draw(title: str, details: str, curves: Sequence[Row], heads: Sequence[Row]) -> Drawn:
    """curves, heads: rows of bias_curves.csv and bias.csv."""
    arms = list(dict.fromkeys(row["subject"] for row in curves))
    columns = min(COLUMNS, len(arms))
    n_rows = math.ceil(len(arms) / columns)
    width = LEFT + columns * (WIDTH + BESIDE)
    heading = textwrap.wrap(title, int(width / 0.094))
    said = textwrap.wrap(details, int(width / 0.066))
    above = 0.75 + 0.2 * len(heading) + 0.165 * len(said)
    height = above + n_rows * (HEIGHT + BELOW) + 0.15
    figure = Drawn(figsize=(width, height), facecolor="white")
    figure.text(
        0.14 / width, 1 - 0.1 / height, "\n".join(heading), weight="bold", size=11, va="top"
    )
    top = 1 - (0.14 + 0.2 * len(heading)) / height
    below = figure.text(0.14 / width, top, "\n".join(said), size=8.5, va="top")
    below.set(color=layout.GREY, linespacing=1.35)
    _legend(figure, 0.2, height - above + 0.38)
    for number, arm in enumerate(arms):
        row, column = divmod(number, columns)
        x, y = LEFT + column * (WIDTH + BESIDE), height - above - row * (HEIGHT + BELOW) - HEIGHT
        axes = figure.add_axes((x / width, y / height, WIDTH / width, HEIGHT / height))
        for (_, _), line in _lines(curves, arm).items():
            style = LOOKS[line[0]["form"]]
            x_and_y = [one["offset"] + 1 for one in line], [one["bias"] for one in line]
            axes.plot(*x_and_y, color=style.colour, linestyle=style.line, linewidth=1.3)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
        axes.tick_params(labelsize=7.5)
        label = axes.text(0.0, 1.03, f"{arm}: {_shares(heads, arm)}", transform=axes.transAxes)
        label.set(va="bottom", size=7.5, color=layout.GREY)
        if column == 0:
            axes.set_ylabel("bias (nats)", size=8.5)
        if number + columns >= len(arms):
            axes.set_xlabel("distance + 1 (logarithmic)", size=8.5)
    return figure


def _lines(curves: Sequence[Row], arm: str) -> dict[tuple[str, int], list[Row]]:
    """The heads of the first seed of an arm."""
    of_arm = [row for row in curves if row["subject"] == arm]
    first = min(row["seed"] for row in of_arm)
    found: dict[tuple[str, int], list[Row]] = {}
    for row in of_arm:
        if row["seed"] == first:
            found.setdefault((row["layers"], row["head"]), []).append(row)
    return found


def _shares(heads: Sequence[Row], arm: str) -> str:
    """What line and logarithm explain over all heads and seeds."""
    of_arm = [row for row in heads if row["subject"] == arm]
    return ", ".join(f"{form} {weighted(of_arm, form):.2f}" for form in ("linear", "log"))


def weighted(heads: Sequence[Mapping], form: str) -> float:
    """The share of a form over heads, each by its variance; NaN where no head has any."""
    known = [row for row in heads if not math.isnan(row[form])]
    variances = [row["spread"] ** 2 for row in known]
    if not sum(variances):
        return math.nan
    explained = (row[form] * v for row, v in zip(known, variances, strict=True))
    return sum(explained) / sum(variances)


def _legend(figure: Drawn, x: float, y: float) -> None:
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    axes.patch.set_alpha(0)
    for form, style in LOOKS.items():
        axes.plot([x, x + 0.35], [y, y], color=style.colour, linestyle=style.line, linewidth=1.6)
        axes.text(x + 0.42, y, form, size=8.5, va="center")
        x += 0.75 + 0.07 * len(form)
