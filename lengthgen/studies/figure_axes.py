"""The axes of a study's figure: lengths or tokens, and values, logarithmic where they span much."""

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from lengthgen.reporting import text_tables
from lengthgen.reporting.figures import length_axis, ticks
from lengthgen.reporting.figures.look import Look
from lengthgen.studies import measures, panels
from lengthgen.studies.panels import Panel
from lengthgen.studies.parts import Figure

ABOUT_ZERO = ("excess", "change", measures.DIFFERENCE)  # a line at 0 is in every panel of these
LINEAR = 0.02  # nats: the axis is logarithmic beyond
Noted = dict[str, list[tuple[float, float]]]  # name -> points of a line that is no result


def floor(asked: Figure) -> float:
    """What no interval reaches below: the excess over an exact floor is not negative."""
    return 0.0 if asked.show == "excess" else -math.inf


def limits(
    drawn: Sequence[Panel], asked: Figure, noted: Mapping[int, Noted]
) -> dict[int, list[float]]:
    """What the value axis of each panel holds: panels of the same data share it."""
    held: dict[tuple, list[float]] = {}
    for panel in drawn:
        points = [point for line in panels.of_lines(panel, asked.axis).values() for point in line]
        numbers = [
            max(number, min(floor(asked), point[1])) for point in points for number in point[1:]
        ]
        numbers += [y for _, y in panel.thresholds]
        numbers += [y for places in noted[id(panel)].values() for _, y in places]
        numbers += [0.0] if asked.show in ABOUT_ZERO else []
        held.setdefault(_shared(panel), []).extend(numbers)
    return {id(panel): held[_shared(panel)] for panel in drawn}


def _shared(panel: Panel) -> tuple:
    return panel.rows[0]["dataset"], panel.train_length


def x_axis(axes: Axes, places: Sequence[float], train_length: int, axis: str) -> None:
    if axis == "length":
        length_axis.draw(axes, places, train_length)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ticks.Spaced(text_tables.count, lambda tokens: -tokens))
    axes.margins(x=0.04)


def value_axis(axes: Axes, numbers: Iterable[float], asked: Figure) -> str:
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
    places = [0.0, *(sign * step for sign in (1, -1) for step in steps if step > LINEAR / 2)]
    bottom, top = axes.get_ylim()
    axes.yaxis.set_major_locator(FixedLocator([t for t in sorted(places) if bottom <= t <= top]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(ticks.Spaced(lambda value: f"{value:g}", ticks.signed))
    return f", logarithmic beyond {LINEAR:g}"


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    places = [step * 10.0**power for power in range(-2, 3) for step in (1, 1.5, 2, 3, 5, 7)]
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in places if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(ticks.Spaced(lambda value: f"{value:g}", ticks.signed))


def x_label(axis: str, columns: int, look: Look) -> str:
    if axis != "length":
        of = "training tokens" if axis == "tokens" else "tokens of the corpus"
        return f"{of} (logarithmic)"
    return length_axis.label(look, wide=columns == 1)
