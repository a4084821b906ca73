"""The learned bias of every head against distance: a panel for each arm, the first seed.

A line's style is the form that explains most of it: so that a panel says at a look whether the bias
is a penalty of the distance, a logarithm of it, a wave, or nothing.
"""

import math
from collections.abc import Mapping, Sequence

from lengthgen.reporting.figures import layout, line_names, measure, ticks
from lengthgen.reporting.figures.look import PAGE, Look, inches, points, scale
from lengthgen.reporting.figures.palette import DASH_DOT, DASHED, DOTTED, SOLID, Style
from lengthgen.reporting.figures.sheet import Sheet
from lengthgen.studies.study_folder import Row

LOOKS = {
    "linear": Style("#0072B2", "", DASHED),
    "log": Style("#D55E00", "", SOLID),
    "periodic": Style("#009E73", "", DOTTED),
    "constant": Style("#9a9a9a", "", DASH_DOT),
}
THIN = {"constant": 0.8}  # of the width of lines: what says least
COLUMNS, WIDTH, HEIGHT = 4, 1.95, 1.6  # panels in a row; inches of a panel
NEEDED = 1.75  # inches that a panel takes with its labels


def draw(
    title: str, details: str, curves: Sequence[Row], heads: Sequence[Row], look: Look = PAGE
) -> Sheet:
    """curves, heads: rows of bias_curves.csv and bias.csv."""
    arms = list(dict.fromkeys(row["subject"] for row in curves))
    most = COLUMNS if look.width is None else max(1, int(look.width / inches(NEEDED)))
    columns = min(COLUMNS, len(arms), most)
    n_rows = math.ceil(len(arms) / columns)
    sheet = Sheet((title, details), look)
    panels = sheet.panels([HEIGHT] * n_rows, columns, WIDTH, gap=0.06)
    room = look.width / columns - inches(0.75) if look.width else inches(WIDTH)
    for number, (axes, arm) in enumerate(zip(panels, arms, strict=False)):
        for line in _lines(curves, arm).values():
            form = line[0]["form"]
            style, width = LOOKS[form], 1.3 * THIN.get(form, 1.0) * scale()
            x_and_y = [one["offset"] + 1 for one in line], [one["bias"] for one in line]
            axes.plot(*x_and_y, color=style.colour, linestyle=style.line, linewidth=width)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(
            ticks.Spaced(lambda at: f"{at:g}", lambda at: (at != 1, -at), 7.5)
        )
        axes.tick_params(labelsize=points(7.5))
        lines = [*measure.wrap(look.name(arm), room, points(7.5)), _shares(heads, arm)]
        label = "\n".join(lines)
        axes.text(0.0, 1.03, label, transform=axes.transAxes).set(
            va="bottom", size=points(7.5), color=layout.GREY
        )
        if number % columns == 0:
            axes.set_ylabel("bias (nats)", size=points(8.5))
        if number + columns >= len(arms):
            axes.set_xlabel(
                "distance + 1\n(logarithmic)" if look.narrow else "distance + 1 (logarithmic)",
                size=points(8.5),
            )
    for axes in panels[len(arms) :]:
        axes.set_axis_off()
    used = {row["form"] for row in curves}
    line_names.below(panels[0], [(LOOKS[form], form) for form in LOOKS if form in used])
    return sheet.fit()


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
