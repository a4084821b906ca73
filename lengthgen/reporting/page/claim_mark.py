"""A claim in one line of a table: the side that was predicted, its threshold, and what was found.

Beside the numbers, which say the same: hidden from screen readers. Each has a scale of its own, in
which only 0 and the threshold are the same everywhere.
"""

import math

from lengthgen.reporting.page.content import Mark
from lengthgen.reporting.page.markup import Markup, element, join

WIDTH, HEIGHT, MARGIN = 132.0, 22.0, 5.0


def claim_mark(mark: Mark) -> Markup:
    """An SVG of WIDTH x HEIGHT; nothing where nothing was found."""
    kind, _, text = mark.predict.partition(" ")
    if not math.isfinite(mark.value):
        return Markup("")
    threshold = float(text)
    thresholds = [-threshold, threshold] if kind == "within" else [threshold]
    ends = [end for end in (mark.low, mark.high) if math.isfinite(end)]
    shown = [0.0, mark.value, *ends, *thresholds]
    low, high = min(shown), max(shown)
    room = 0.08 * (high - low or 1.0)
    low, high = low - room, high + room

    def x(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return MARGIN + share * (WIDTH - 2 * MARGIN)

    begin, end = {
        "above": (x(threshold), WIDTH),
        "below": (0.0, x(threshold)),
        "within": (x(-threshold), x(threshold)),
    }.get(kind, (0.0, 0.0))
    middle = HEIGHT / 2
    reach = [x(mark.low) if math.isfinite(mark.low) else 0.0,
             x(mark.high) if math.isfinite(mark.high) else WIDTH]  # fmt: skip
    parts = [
        _shape("rect", "side", x=begin, y=1, width=end - begin, height=HEIGHT - 2),
        _line("zero", x(0.0), 0, x(0.0), HEIGHT),
        *(_line("threshold", x(each), 1, x(each), HEIGHT - 1) for each in thresholds),
        _line("interval", reach[0], middle, reach[1], middle),
        _shape("circle", "found", cx=x(mark.value), cy=middle, r=3.4),
    ]
    return element(
        "svg", join(*parts), class_="mark", viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        width=f"{WIDTH:g}", height=f"{HEIGHT:g}", aria_hidden="true",
    )  # fmt: skip


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return _shape("line", name, x1=x1, y1=y1, x2=x2, y2=y2)


def _shape(tag: str, name: str, **numbers: float) -> Markup:
    return element(tag, class_=name, **{key: f"{value:.4g}" for key, value in numbers.items()})
