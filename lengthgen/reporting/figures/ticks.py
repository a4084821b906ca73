"""Labels of ticks where they have room: measured when the figure is drawn, the important first."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, Formatter, MaxNLocator, NullLocator

from lengthgen.reporting.figures import measure
from lengthgen.reporting.figures.look import inches, points

SIZE = 9  # points
GAP = 0.07  # inches between two labels


class Spaced(Formatter):
    """write: value -> label; rank: value -> sort key, the least comes first.

    A label that would touch one before it in that order is left out; its tick stays.
    """

    def __init__(
        self, write: Callable[[float], str], rank: Callable[[float], Any], size: float = SIZE
    ) -> None:
        self.write, self.rank, self.size = write, rank, size

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.write(x)

    def format_ticks(self, values: list[float]) -> list[str]:
        if not len(values):
            return []
        axes, size = self.axis.axes, points(self.size)  # type: ignore[union-attr]
        upright = self.axis is axes.yaxis
        low, high = sorted(axes.get_ylim() if upright else axes.get_xlim())
        other = axes.get_xlim()[0] if upright else axes.get_ylim()[0]
        places = [(other, value) if upright else (value, other) for value in values]
        along = axes.transData.transform(places)[:, 1 if upright else 0] / axes.figure.dpi
        texts = [self.write(value) for value in values]
        halves = [(0.5 * size / 72 if upright else measure.width(text, size) / 2) for text in texts]
        gap = 0.02 if upright else inches(GAP)
        kept: list[int] = []
        for i in sorted(range(len(values)), key=lambda i: self.rank(values[i])):
            if low <= values[i] <= high and all(
                abs(along[i] - along[j]) >= halves[i] + halves[j] + gap for j in kept
            ):
                kept.append(i)
        return [text if i in kept else "" for i, text in enumerate(texts)]


def lengths(train_length: int, values: Sequence[float]) -> Spaced:
    """`1,024` over `2×`: the training length first, then the ends."""
    ends = {min(values), max(values)}
    return Spaced(
        lambda x: f"{x:,.0f}\n{x / train_length:.3g}×",
        lambda x: (x != train_length, x not in ends, x),
    )


def signed(value: float) -> tuple:
    """The rank of a tick on an axis about 0: 0, the powers of ten from outside, the others."""
    return value != 0, f"{abs(value):e}"[0] != "1", -abs(value)


def plain(axis: Axis) -> None:
    """Of a logarithmic axis: numbers as they are written, the powers of ten first."""
    scale = axis.get_scale()
    if scale not in ("log", "symlog"):
        return
    low, high = sorted(axis.get_view_interval())
    powers = [10.0**power for power in range(-12, 13)]
    steps = [step * power for power in powers for step in (1, 2, 5)]
    if scale == "symlog":  # linear to ±1
        steps = [0.0, *(sign * step for step in steps if step >= 1 for sign in (-1, 1))]
    places = [step for step in sorted(steps) if low <= step <= high]
    # An axis of a part of a decade has too few of them.
    axis.set_major_locator(FixedLocator(places) if len(places) > 1 else MaxNLocator(4))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(Spaced(number, signed))


def number(value: float) -> str:
    """1,000 or 0.02; very small and very large ones with an exponent."""
    large = abs(value) >= 1000
    return f"{value:,.0f}" if large and abs(value) < 1e7 else f"{value:g}"
