"""A figure of a study's values: a measure by evaluation length, or by training tokens.

Small multiples (panels.py) with a style for each line, exact floors, and the thresholds of claims.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullLocator

from lengthgen.reporting import text_tables
from lengthgen.reporting.figures import layout, length_axis, palette
from lengthgen.studies import lines, measures, panels
from lengthgen.studies.panels import Panel
from lengthgen.studies.parts import Figure
from lengthgen.studies.study_folder import Row

ABOUT_ZERO = ("excess", "change", measures.DIFFERENCE)  # a line at 0 is in every panel of these
LINEAR = 0.02  # nats: the axis is logarithmic beyond
PLOT, LEFT, COLUMN_GAP, BOTTOM, HEIGHT = 3.1, 0.85, 0.35, 0.62, 2.5  # inches


def draw(
    title: str, details: str, rows: Sequence[Row], asked: Figure, claims: Sequence[Row] = ()
) -> Drawn:
    """rows: of values.csv, as study_folder.read gives them. claims: whose thresholds are drawn."""
    drawn = panels.split(rows, asked, claims)
    if not drawn:
        raise ValueError(f"no values of {asked.show} to draw")
    columns = 1 if len(drawn) == 1 else 2
    plot = 5.6 if columns == 1 else PLOT
    names = [
        panels.called(panel, name) for panel in drawn for name in panels.of_lines(panel, asked.axis)
    ]
    beside = 0.55 + 0.068 * max(map(len, [*names, "bigram table"]))
    limits = _limits(drawn, asked)
    width = LEFT + columns * (plot + beside) + (columns - 1) * (COLUMN_GAP + 0.3)
    heading = textwrap.wrap(title, int(width / 0.094))
    said = textwrap.wrap(f"{details} {_said(drawn, asked)}".strip(), int(width / 0.066))
    above = 0.45 + 0.2 * len(heading) + 0.165 * len(said)
    n_rows = math.ceil(len(drawn) / columns)
    each = max(HEIGHT, layout.ROW * (2 + max(len(panels.of_lines(p, asked.axis)) for p in drawn)))
    gap = 0.72
    height = above + n_rows * each + (n_rows - 1) * gap + BOTTOM
    figure = Drawn(figsize=(width, height), facecolor="white")
    figure.text(
        0.14 / width, 1 - 0.1 / height, "\n".join(heading), weight="bold", size=11, va="top"
    )
    below = figure.text(
        0.14 / width, 1 - (0.14 + 0.2 * len(heading)) / height, "\n".join(said), size=8.5, va="top"
    )
    below.set(color=layout.GREY, linespacing=1.35)
    for number, panel in enumerate(drawn):
        row, column = divmod(number, columns)
        x = LEFT + column * (plot + beside + COLUMN_GAP + 0.3)
        y = height - above - row * (each + gap) - each
        axes = figure.add_axes((x / width, y / height, plot / width, each / height))
        _panel(axes, panel, asked, limits[id(panel)])
        last = number + columns >= len(drawn)
        axes.set_xlabel(_x_label(asked.axis, columns) if last else "")
    return figure


def _panel(axes: Axes, panel: Panel, asked: Figure, numbers: Sequence[float]) -> None:
    of_lines = panels.of_lines(panel, asked.axis)
    schemes = {panels.name(row, asked.axis): row["scheme"] for row in panel.rows}
    trained = [name for name in schemes if asked.axis != "length" or "+" not in name]
    style = lines.styles(schemes, trained)
    ends = {}
    for name in sorted(of_lines, key=palette.order):
        points = of_lines[name]
        lines.draw(axes, style[name], points, _floor(asked))
        ends[panels.called(panel, name)] = (style[name], points[-1][0], points[-1][1])
    for text, noted in _noted(panel, asked).items():
        x_and_y = zip(*noted, strict=True)
        note = lines.NOTE
        axes.plot(*x_and_y, color=note.colour, linestyle=note.line, linewidth=1.0)
        ends[text] = (lines.NOTE, *noted[-1])
    if asked.show in ABOUT_ZERO:
        axes.axhline(0, color=lines.NOTE.colour, linewidth=0.9, zorder=1)
    places = sorted({point[0] for points in of_lines.values() for point in points})
    _x_axis(axes, places, panel.train_length, asked.axis)
    shown = f"loss minus {asked.baseline}'s" if asked.baseline else asked.show
    axes.set_ylabel(f"{shown} (nats/token{_value_axis(axes, numbers, asked)})", size=8.5)
    # As wide on an axis of a tenth of an octave as on one of two.
    wide = (places[-1] / places[0]) ** 0.065
    for x, y in panel.thresholds:
        axes.plot([x / wide, x * wide], [y, y], color="black", linewidth=2.2, zorder=4)
    label = axes.text(0.0, 1.02, panel.title, transform=axes.transAxes)
    label.set(va="bottom", size=8.5, color=layout.GREY)
    lines.name_ends(axes, ends)


def _floor(asked: Figure) -> float:
    """What no interval reaches below: the excess over an exact floor is not negative."""
    return 0.0 if asked.show == "excess" else -math.inf


def _noted(panel: Panel, asked: Figure) -> dict[str, list[tuple[float, float]]]:
    """Name -> points of the lines that are no result."""
    found = {}
    for measure, text in panels.NOTES.items():
        points = {
            row["eval_length"]: row["value"] for row in panel.notes if row["measure"] == measure
        }
        if points and asked.axis == "length":
            found[text] = sorted(points.items())
    return found


def _limits(drawn: Sequence[Panel], asked: Figure) -> dict[int, list[float]]:
    """What the value axis of each panel holds: panels of the same data share it."""
    held: dict[tuple, list[float]] = {}
    for panel in drawn:
        points = [point for line in panels.of_lines(panel, asked.axis).values() for point in line]
        numbers = [
            max(number, min(_floor(asked), point[1])) for point in points for number in point[1:]
        ]
        numbers += [y for _, y in panel.thresholds]
        numbers += [y for noted in _noted(panel, asked).values() for _, y in noted]
        numbers += [0.0] if asked.show in ABOUT_ZERO else []
        held.setdefault(_shared(panel), []).extend(numbers)
    return {id(panel): held[_shared(panel)] for panel in drawn}


def _shared(panel: Panel) -> tuple:
    return panel.rows[0]["dataset"], panel.train_length


def _x_axis(axes: Axes, places: Sequence[float], train_length: int, axis: str) -> None:
    if axis == "length":
        length_axis.draw(axes, places, train_length)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FixedFormatter([text_tables.count(tokens) for tokens in places]))
    axes.margins(x=0.04)


def _value_axis(axes: Axes, numbers: Iterable[float], asked: Figure) -> str:
    """Logarithmic, as far as need be, where the values span more than a factor of five. Says so.

    Never for a difference, whose sign is what is read.
    """
    values = [number for number in numbers if math.isfinite(number)]
    if not values:
        return ""
    low, high = min(values), max(values)
    room = 0.05 * (high - low or 1.0)
    axes.set_ylim(low - room, high + room)
    large = max(abs(low), abs(high))
    # The line at 0 is in every panel; it is the results that have to span much.
    least = min((value for value in values if value != 0), default=0.0)
    narrow = large <= 10 * LINEAR or least >= high / 5
    if narrow or asked.show == measures.DIFFERENCE:
        return ""
    if low > 5 * LINEAR:  # a scale that goes on to 0 would leave most of the panel empty
        _logarithmic(axes, low / 1.1, 1.1 * high)
        return ", logarithmic"
    axes.set_yscale("symlog", linthresh=LINEAR, linscale=0.5)
    axes.set_ylim(1.3 * low if low < -LINEAR / 2 else -LINEAR / 4, 1.3 * high)
    steps = [s * 10.0**p for p in range(-2, 3) for s in (1, 3)]
    ticks = [0.0, *(sign * step for sign in (1, -1) for step in steps if step > LINEAR / 2)]
    axes.yaxis.set_major_locator(
        FixedLocator([t for t in sorted(ticks) if 1.3 * low <= t <= 1.3 * high])
    )
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return f", logarithmic beyond {LINEAR:g}"


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    ticks = [step * 10.0**power for power in range(-2, 3) for step in (1, 1.5, 2, 3, 5, 7)]
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _x_label(axis: str, columns: int) -> str:
    if axis != "length":
        of = "training tokens" if axis == "tokens" else "tokens of the corpus"
        return f"{of} (logarithmic)"
    return length_axis.LABEL if columns == 1 else "evaluation length (tokens, times L)"


def _said(drawn: Sequence[Panel], asked: Figure) -> str:
    """What is drawn besides lines."""
    said = "Dashed upright: the training length L." if asked.axis == "length" else ""
    bars = "Short black bars: thresholds of claims." if any(p.thresholds for p in drawn) else ""
    return f"{said} {bars}".strip()
