"""A study's decision in one figure: every claim with what was found, its threshold and its verdict.

A row for each claim, primary, exploratory and checks apart. Rows differ in scale by orders of
magnitude: each has its own, printed at its end, and only 0 is the same in all. Shaded: the side of
the threshold that the claim predicted. Marker, colour and word say the same, so that it can be read
without colours. In a narrow figure a claim stands above its row. Sizes in inches.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from lengthgen.reporting.figures import layout, measure
from lengthgen.reporting.figures.look import PAGE, Look, inches, points
from lengthgen.reporting.figures.look import scale as enlarged
from lengthgen.reporting.figures.sheet import Sheet
from lengthgen.studies import claim_rows
from lengthgen.studies.claim_rows import Row
from lengthgen.studies.claims import (
    CHECK,
    EXPLORATORY,
    NOT_ANSWERABLE,
    PRIMARY,
    REFUTED,
    SUPPORTED,
    UNDECIDED,
)
from lengthgen.studies.claims_frame import LINE, Frame

TITLES = {
    PRIMARY: "Primary claims: they decide the verdict",
    EXPLORATORY: "Exploratory claims",
    CHECK: "Checks of the instrument: never counted",
}
BAND = "#e6ecf2"  # the side that was predicted


@dataclass(frozen=True)
class Mark:
    """How a verdict is drawn."""

    colour: str
    marker: str
    filled: bool = True


MARKS = {
    SUPPORTED: Mark("#1B7837", "o"),
    REFUTED: Mark("#B2182B", "X"),
    UNDECIDED: Mark("#555555", "o", filled=False),
    NOT_ANSWERABLE: Mark("#8A8A8A", "s", filled=False),
}


def draw(title: str, details: str, claims: Sequence[Row], look: Look = PAGE) -> Sheet:
    """claims: rows of claims.csv, as study_folder.read gives them."""
    frame = Frame.of(look, claims)
    sheet = Sheet((title, details), look)
    top = sheet.above(frame.width) + inches(0.06)
    groups = [(name, [row for row in claims if claim_rows.role(row) == name]) for name in TITLES]
    groups = [(name, rows) for name, rows in groups if rows]
    heights = sum(inches(0.34) + sum(map(frame.height, rows)) for _, rows in groups)
    legend = _legend_places(frame)
    height = top + heights + inches(0.3) + inches(0.2) * (legend[-1][1] + 1)
    sheet.set_size_inches(frame.width, height)
    axes = sheet.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, frame.width), ylim=(height, 0))
    axes.axis("off")
    y = top
    for name, rows in groups:
        y = _group(axes, frame, TITLES[name], rows, y)
    _legend(axes, frame, legend, y + inches(0.22))
    sheet.write_title(frame.width, height)
    return sheet


def _group(axes: Axes, frame: Frame, title: str, rows: Sequence[Row], y: float) -> float:
    """The rows of a role under their title. Returns where they end."""
    _text(axes, frame.left, y + inches(0.1), title, size=9, weight="bold")
    y += inches(0.34)
    if not frame.narrow:  # else the title is above the columns
        for x, word in ((frame.x(0), "0"), (frame.x(1) + inches(0.25), "scale")):
            about: dict[str, Any] = {"ha": "center", "va": "center", "color": layout.GREY}
            _text(axes, x, y - inches(0.07), word, size=7, **about)
    for row in rows:
        _row(axes, frame, row, y)
        y += frame.height(row)
    return y


def _row(axes: Axes, frame: Frame, claim: Row, y: float) -> None:
    rule: dict[str, Any] = {"color": "#e4e4e4", "linewidth": 0.7, "zorder": 0}
    axes.plot([frame.left, frame.width - frame.left], [y, y], **rule)
    lines, reason = frame.lines(claim)
    line, text_height = inches(LINE), frame.text_height(claim)
    _text(axes, frame.left, y + inches(0.05), "\n".join(lines), size=8)
    after = y + inches(0.05) + line * len(lines)
    about: dict[str, Any] = {"style": "italic", "color": layout.GREY}
    _text(axes, frame.left, after, "\n".join(reason), size=7.5, **about)
    top, bottom = y + (text_height if frame.narrow else 0.0), y + frame.height(claim)
    scale, middle = claim_rows.scale(claim), (top + bottom) / 2
    zero: dict[str, Any] = {"color": "#bbbbbb", "linewidth": 0.8 * enlarged(), "zorder": 1}
    axes.plot([frame.x(0)] * 2, [top, bottom], **zero)
    _prediction(axes, frame, claim, top, bottom)
    common = claim_rows.common(claim)
    if common:
        _interval(axes, frame, common, middle + inches(0.1), scale, dashed=True)
    _interval(axes, frame, claim, middle - (inches(0.1) if common else 0), scale)
    right = frame.x(1) + inches(0.1)
    _text(axes, right, middle, f"{scale:g}", size=7, va="center", color=layout.GREY)
    words = frame.words(claim)
    begin = middle - line * (len(words) + 1) / 2
    mark = MARKS[claim["verdict"]]
    _text(axes, frame.beside, begin, claim["verdict"], size=8.5, weight="bold", color=mark.colour)
    _text(axes, frame.beside, begin + line, "\n".join(words), size=7.5, color="#222222")


def _prediction(axes: Axes, frame: Frame, claim: Row, top: float, bottom: float) -> None:
    """The threshold, with the side shaded that was predicted."""
    kind, _, number = claim["predict"].partition(" ")
    threshold = float(number) / claim_rows.scale(claim)
    begin, end = {
        "above": (threshold, 1.0),
        "below": (frame.side, threshold),
        "within": (-threshold, threshold),
    }[kind]
    begin, end = frame.x(begin), frame.x(end)
    top, bottom = top + inches(0.03), bottom - inches(0.03)
    axes.add_patch(Rectangle((begin, top), end - begin, bottom - top, color=BAND, zorder=0))
    for each in {threshold, -threshold} if kind == "within" else {threshold}:
        rule: dict[str, Any] = {"color": "#222222", "linewidth": 1.1 * enlarged(), "zorder": 2}
        axes.plot([frame.x(each)] * 2, [top, bottom], **rule)


def _interval(
    axes: Axes, frame: Frame, found: Row, y: float, scale: float, dashed: bool = False
) -> None:
    """What was found: its 95 % interval, open at an end that is not known."""
    value, low, high = (float(found[name]) / scale for name in ("value", "low", "high"))
    mark = MARKS[found["verdict"]]
    if math.isnan(value):
        about: dict[str, Any] = {"color": layout.GREY, "va": "center", "style": "italic"}
        _text(axes, frame.x(0) + inches(0.06), y, "no number", size=7.5, **about)
        return
    ends = [low if math.isfinite(low) else frame.side, high if math.isfinite(high) else 1.0]
    line: dict[str, Any] = {"color": mark.colour, "zorder": 3}
    axes.plot(
        [frame.x(end) for end in ends],
        [y, y],
        linewidth=1.6 * enlarged(),
        linestyle=(0, (2, 1)) if dashed else "-",
        solid_capstyle="butt",
        **line,
    )
    for end in ends:
        axes.plot(frame.x(end), y, marker="|", markersize=5 * enlarged(), **line)
    _point(axes, frame.x(value), y, mark)


def _point(axes: Axes, x: float, y: float, mark: Mark) -> None:
    (point,) = axes.plot(x, y, marker=mark.marker, markersize=6.5 * enlarged(), zorder=4)
    point.set(markerfacecolor=mark.colour if mark.filled else "white")
    point.set(markeredgecolor=mark.colour, markeredgewidth=1.1 * enlarged())


def _legend_places(frame: Frame) -> list[tuple[float, int, str]]:
    """(x, line, word) of every entry, on as many lines as they need."""
    x, line = frame.left, 0
    places: list[tuple[float, int, str]] = []
    for word in (*MARKS, "threshold, and the side predicted"):
        wide = inches(0.36) + measure.width(word, points(8))
        if places and x + wide > frame.width - frame.left:
            x, line = frame.left, line + 1
        places.append((x, line, word))
        x += wide
    return places


def _legend(
    axes: Axes, frame: Frame, places: Sequence[tuple[float, int, str]], begin: float
) -> None:
    for x, line, word in places:
        y = begin + inches(0.2) * line
        if word in MARKS:
            _point(axes, x + inches(0.05), y, MARKS[word])
            _text(axes, x + inches(0.15), y, word, size=8, va="center")
            continue
        up, down = y - inches(0.06), y + inches(0.06)
        axes.add_patch(Rectangle((x, up), inches(0.2), down - up, color=BAND))
        axes.plot([x, x], [up, down], color="#222222", linewidth=1.1 * enlarged())
        _text(axes, x + inches(0.26), y, word, size=8, va="center")


def _text(axes: Axes, x: float, y: float, text: str, size: float, **style: Any) -> None:
    looks: dict[str, Any] = {"va": "top", "linespacing": 1.25} | style
    axes.text(x, y, text, size=points(size), **looks)
