"""A figure of a study's values: a measure by evaluation length, or by training tokens.

Small multiples (panels.py) with a style for each line, exact floors, and the thresholds of claims.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from matplotlib.axes import Axes

from lengthgen.reporting.figures import layout, line_names, measure, palette
from lengthgen.reporting.figures.line_names import End
from lengthgen.reporting.figures.look import PAGE, Look, inches, scale
from lengthgen.reporting.figures.look import points as size_of
from lengthgen.reporting.figures.palette import Style
from lengthgen.reporting.figures.sheet import Sheet
from lengthgen.studies import figure_axes, lines, panels
from lengthgen.studies.figure_axes import Noted
from lengthgen.studies.panels import Panel
from lengthgen.studies.parts import Figure
from lengthgen.studies.study_folder import Row

ZERO = "#222222"
ONE, SEVERAL = 5.6, 3.1  # inches: the width of a panel alone, and of one of several
HEIGHT, SMALL = 2.5, 1.7  # inches of a panel, and in a narrow figure
MOST = 12  # names of a legend for all panels
UNDER, LABEL = 0.46, 0.22  # inches below a panel: of its ticks' labels, and of its axis'


def draw(
    title: str,
    details: str,
    rows: Sequence[Row],
    asked: Figure,
    claims: Sequence[Row] = (),
    look: Look = PAGE,
) -> Sheet:
    """rows: of values.csv, as study_folder.read gives them. claims: whose thresholds are drawn."""
    drawn = panels.split(rows, asked, claims)
    if not drawn:
        raise ValueError(f"no values of {asked.show} to draw")
    columns = 1 if len(drawn) == 1 or look.narrow else 2
    names = [_called(panel, name, look) for panel in drawn for name in _names(panel, asked)]
    share = look if look.width is None else replace(look, given_width=look.width / columns)
    beside = line_names.fit_beside([*names, *panels.NOTES.values()], share)
    noted = {id(panel): _noted(panel, asked) for panel in drawn}
    limits = figure_axes.limits(drawn, asked, noted)
    most = max(len(panels.of_lines(panel, asked.axis)) for panel in drawn)
    names_high = line_names.ROW * (2 + most) if beside else 0.0
    height = max(SMALL if look.narrow else HEIGHT, names_high)
    n_rows = math.ceil(len(drawn) / columns)
    sheet = Sheet((title, f"{details} {_said(drawn, asked)}".strip()), look)
    legends = []
    axes = sheet.panels([height] * n_rows, columns, ONE if columns == 1 else SEVERAL, gap=0.1)
    for number, (one, panel) in enumerate(zip(axes, drawn, strict=False)):
        last = number + columns >= len(drawn)
        ends = _panel(one, panel, asked, limits[id(panel)], noted[id(panel)], look)
        one.set_xlabel(figure_axes.x_label(asked.axis, columns, look) if last else "")
        if beside:
            line_names.beside(one, list(ends.values()), height)
        legends.append(_legend(ends.values()))
    for one in axes[len(drawn) :]:
        one.set_axis_off()
    if not beside:
        _name_below(axes, legends, columns)
    return sheet.fit()


def _legend(ends: Iterable[End]) -> list[tuple[Style, str]]:
    """Lines as they end, from top to bottom."""
    return [(end.style, end.text) for end in sorted(ends, key=lambda end: -(end.y or 0.0))]


def _name_below(
    axes: Sequence[Axes], legends: Sequence[list[tuple[Style, str]]], columns: int
) -> None:
    """One legend for all panels, or one for each where a name has not the same style in all."""
    looks: dict[str, set[Style]] = {}
    for style, text in (entry for legend in legends for entry in legend):
        looks.setdefault(text, set()).add(style)
    if all(len(styles) == 1 for styles in looks.values()) and len(looks) <= MOST:
        line_names.below(axes[0], [(style, text) for text, (style,) in looks.items()])
        return
    for number, legend in enumerate(legends):
        last = number + columns >= len(legends)
        line_names.below(axes[number], legend, UNDER + (LABEL if last else 0.0))


def _names(panel: Panel, asked: Figure) -> list[str]:
    return list(panels.of_lines(panel, asked.axis))


def _called(panel: Panel, name: str, look: Look) -> str:
    """What a line is called in its panel: a condition alone in the panel of its arm."""
    called = panels.called(panel, name)
    if called != name:
        return called if called == "as trained" else f"+{look.name(called.removeprefix('+'))}"
    return look.name(called)


def _panel(
    axes: Axes, panel: Panel, asked: Figure, numbers: Sequence[float], noted: Noted, look: Look
) -> dict[str, End]:
    """Draw the panel. Returns the ends of its lines, by name."""
    of_lines = panels.of_lines(panel, asked.axis)
    schemes = {panels.name(row, asked.axis): row["scheme"] for row in panel.rows}
    trained = [name for name in schemes if asked.axis != "length" or "+" not in name]
    style = lines.styles(schemes, trained)
    ends = {}
    for name in sorted(of_lines, key=palette.order):
        points = of_lines[name]
        lines.draw(axes, style[name], points, figure_axes.floor(asked))
        ends[name] = End(style[name], *points[-1][:2], _called(panel, name, look))
    for text, places in noted.items():
        x_and_y = zip(*places, strict=True)
        note = lines.NOTES[text]
        axes.plot(*x_and_y, color=note.colour, linestyle=note.line, linewidth=scale())
        ends[text] = End(note, *places[-1], text)
    if asked.show in figure_axes.ABOUT_ZERO:
        axes.axhline(0, color=ZERO, linewidth=0.9 * scale(), zorder=1)
    at = sorted({point[0] for points in of_lines.values() for point in points})
    figure_axes.x_axis(axes, at, panel.train_length, asked.axis)
    shown = f"loss minus {look.name(asked.baseline)}'s" if asked.baseline else asked.show
    unit = _unit(figure_axes.value_axis(axes, numbers, asked), len(shown), look)
    axes.set_ylabel(f"{shown} {unit}", size=size_of(8.5))
    # As wide on an axis of a tenth of an octave as on one of two.
    wide = (at[-1] / at[0]) ** 0.065
    for x, y in panel.thresholds:
        axes.plot([x / wide, x * wide], [y, y], color="black", linewidth=2.2 * scale(), zorder=4)
    title = (
        measure.wrap(panel.title, look.width - inches(0.8), size_of(8.5))
        if look.width
        else [panel.title]
    )
    label = axes.text(0.0, 1.02, "\n".join(title), transform=axes.transAxes)
    label.set(va="bottom", size=size_of(8.5), color=layout.GREY)
    return ends


def _unit(kind: str, before: int, look: Look) -> str:
    """`(nats/token, logarithmic)`, on two lines where one would be longer than the panel."""
    long = before + len(kind) > (10 if look.narrow else 20) and kind
    return f"(nats/token,\n{kind.removeprefix(', ')})" if long else f"(nats/token{kind})"


def _noted(panel: Panel, asked: Figure) -> Noted:
    """Name -> points of the lines that are no result."""
    found: Noted = {}
    for measured, text in panels.NOTES.items():
        points = {
            row["eval_length"]: row["value"] for row in panel.notes if row["measure"] == measured
        }
        if points and asked.axis == "length":
            found[text] = sorted(points.items())
    return found


def _said(drawn: Sequence[Panel], asked: Figure) -> str:
    """What is drawn besides lines."""
    said = "Dashed upright: the training length L." if asked.axis == "length" else ""
    bars = "Short black bars: thresholds of claims." if any(p.thresholds for p in drawn) else ""
    return f"{said} {bars}".strip()
