"""A study's decision in one figure: every claim with what was found, its threshold and its verdict.

A row for each claim, primary, exploratory and checks apart. Rows differ in scale by orders of
magnitude: each has its own, printed at its end, and only 0 is the same in all. Shaded: the side of
the threshold that the claim predicted. Marker, colour and word say the same, so that it can be read
without colours. Sizes in inches.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lengthgen.reporting import text_tables
from lengthgen.reporting.figures import layout
from lengthgen.studies.claims import (
    CHECK,
    EXPLORATORY,
    NOT_ANSWERABLE,
    PRIMARY,
    REFUTED,
    SUPPORTED,
    UNDECIDED,
)

WIDTH, LEFT, TEXT, PLOT, GAP = 9.1, 0.14, 3.65, 2.75, 0.1  # of the figure and its columns
LINE = 0.145  # height of a line of text
CHARACTERS = 60  # of a line of a claim
UNITS = {"recovered": "of the loss", "utilisation": "of the gain", "gradient": ""} | dict.fromkeys(
    ("bias_linear", "bias_log", "bias_periodic", "bias_decreasing", "bias_log_over_linear"),
    "of variance",
)
TITLES = {
    PRIMARY: "Primary claims: they decide the verdict",
    EXPLORATORY: "Exploratory claims",
    CHECK: "Checks of the instrument: never counted",
}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    filled: bool = True


LOOKS = {
    SUPPORTED: Look("#1B7837", "o"),
    REFUTED: Look("#B2182B", "X"),
    UNDECIDED: Look("#555555", "o", filled=False),
    NOT_ANSWERABLE: Look("#8A8A8A", "s", filled=False),
}


def role(claim: Row) -> str:
    """primary, exploratory or check, of a row of claims.csv, an older one as well."""
    return PRIMARY if claim["primary"] else CHECK if claim.get("check") else EXPLORATORY


def draw(title: str, details: str, claims: Sequence[Row]) -> Figure:
    """claims: rows of claims.csv, as study_folder.read gives them."""
    heading = textwrap.wrap(title, 92)
    about = textwrap.wrap(details, 138)
    top = 0.16 + 0.2 * len(heading) + 0.15 * len(about) + 0.2
    groups = [(name, [row for row in claims if role(row) == name]) for name in TITLES]
    groups = [(name, rows) for name, rows in groups if rows]
    height = top + 0.42 + sum(0.34 + sum(map(_height, rows)) for _, rows in groups)
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.axis("off")
    _text(axes, LEFT, 0.1, "\n".join(heading), size=11, weight="bold")
    below = 0.14 + 0.2 * len(heading)
    _text(axes, LEFT, below, "\n".join(about), size=8, color=layout.GREY, linespacing=1.3)
    side = -1.0 if any(_reaches_below(row) for row in claims) else -0.12
    y = top
    for name, rows in groups:
        _text(axes, LEFT, y + 0.1, TITLES[name], size=9, weight="bold")
        for x, word in ((_x(0, side), "0"), (_x(1, side) + 0.25, "scale")):
            _text(axes, x, y + 0.27, word, size=7, ha="center", va="center", color=layout.GREY)
        y += 0.34
        begin = y
        for row in rows:
            _row(axes, row, y, side)
            y += _height(row)
        axes.plot([_x(0, side)] * 2, [begin, y], color="#bbbbbb", linewidth=0.8, zorder=1)
    _legend(axes, y + 0.22, side)
    return figure


def _row(axes: Axes, claim: Row, y: float, side: float) -> None:
    height, look = _height(claim), LOOKS[claim["verdict"]]
    axes.plot([LEFT, WIDTH - LEFT], [y, y], color="#e4e4e4", linewidth=0.7, zorder=0)
    lines, reason = _lines(claim)
    _text(axes, LEFT, y + 0.05, "\n".join(lines), size=8)
    after = y + 0.05 + LINE * len(lines)
    _text(axes, LEFT, after, "\n".join(reason), size=7.5, style="italic", color=layout.GREY)
    scale, middle = _scale(claim), y + height / 2
    _prediction(axes, claim, y, height, side, scale)
    common = _common(claim)
    if common:
        _interval(axes, common, middle + 0.1, side, scale, dashed=True)
    _interval(axes, claim, middle - (0.1 if common else 0), side, scale)
    right = LEFT + TEXT + PLOT + GAP
    unit = UNITS.get(claim["measure"], "nats")
    _text(axes, right, middle, f"{scale:g}", size=7, va="center", color=layout.GREY)
    words = [
        f"found {_found(claim, scale)}",
        f"predicted {_prediction_words(claim)} {unit}".rstrip(),
    ]
    if common:
        words.insert(1, f"common {_found(common, scale)}")
    at = right + 0.4
    begin = middle - LINE * (len(words) + 1) / 2
    _text(axes, at, begin, claim["verdict"], size=8.5, weight="bold", color=look.colour)
    _text(axes, at, begin + LINE, "\n".join(words), size=7.5, color="#222222")


def _prediction(axes: Axes, claim: Row, y: float, height: float, side: float, scale: float) -> None:
    """The threshold, with the side shaded that was predicted."""
    kind, _, number = claim["predict"].partition(" ")
    threshold = float(number) / scale
    begin, end = {
        "above": (threshold, 1.0),
        "below": (side, threshold),
        "within": (-threshold, threshold),
    }[kind]
    begin, end = _x(begin, side), _x(end, side)
    band = Rectangle((begin, y + 0.03), end - begin, height - 0.06, color="#e6ecf2", zorder=0)
    axes.add_patch(band)
    for each in {threshold, -threshold} if kind == "within" else {threshold}:
        place = [_x(each, side)] * 2
        axes.plot(place, [y + 0.03, y + height - 0.03], color="#222222", linewidth=1.1, zorder=2)


def _interval(
    axes: Axes, found: Row, y: float, side: float, scale: float, dashed: bool = False
) -> None:
    """What was found: its 95 % interval, open at an end that is not known."""
    value, low, high = (float(found[name]) / scale for name in ("value", "low", "high"))
    look = LOOKS[found["verdict"]]
    if math.isnan(value):
        text = _text(axes, _x(0, side) + 0.06, y, "no number", size=7.5, color=layout.GREY)
        text.set(va="center", style="italic")
        return
    ends = [low if math.isfinite(low) else side, high if math.isfinite(high) else 1.0]
    axes.plot(
        [_x(end, side) for end in ends],
        [y, y],
        color=look.colour,
        linewidth=1.6,
        linestyle=(0, (2, 1)) if dashed else "-",
        solid_capstyle="butt",
        zorder=3,
    )
    for end, marker in zip(ends, "||", strict=True):
        axes.plot(_x(end, side), y, marker=marker, color=look.colour, markersize=5, zorder=3)
    face = look.colour if look.filled else "white"
    (point,) = axes.plot(_x(value, side), y, marker=look.marker, markersize=6.5, zorder=4)
    point.set(markerfacecolor=face, markeredgecolor=look.colour, markeredgewidth=1.1)


def _legend(axes: Axes, y: float, side: float) -> None:
    x = LEFT
    for word, look in LOOKS.items():
        face = look.colour if look.filled else "white"
        (point,) = axes.plot(x + 0.05, y, marker=look.marker, markersize=6.5)
        point.set(markerfacecolor=face, markeredgecolor=look.colour, markeredgewidth=1.1)
        _text(axes, x + 0.15, y, word, size=8, va="center")
        x += 0.3 + 0.068 * len(word)
    axes.add_patch(Rectangle((x, y - 0.06), 0.2, 0.12, color="#e6ecf2"))
    axes.plot([x, x], [y - 0.06, y + 0.06], color="#222222", linewidth=1.1)
    _text(axes, x + 0.26, y, "threshold, and the side predicted", size=8, va="center")


def _lines(claim: Row) -> tuple[list[str], list[str]]:
    """The claim, and the reason of its verdict, as lines."""
    reason = claim.get("reason") or ""
    return textwrap.wrap(claim["claim"], CHARACTERS), textwrap.wrap(reason, CHARACTERS + 4)


def _height(claim: Row) -> float:
    lines = sum(map(len, _lines(claim)))
    return LINE * max(lines, 4 if claim.get("common_verdict") else 3) + 0.12


def _scale(claim: Row) -> float:
    """The least of 1, 2, 5 times a power of ten that holds all that the row shows."""
    numbers = [claim[name] for name in ("value", "low", "high")]
    if claim.get("common_verdict"):
        numbers += [claim[f"common_{name}"] for name in ("value", "low", "high")]
    numbers.append(float(claim["predict"].partition(" ")[2]))
    most = max((abs(number) for number in numbers if math.isfinite(number)), default=0) or 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 5, 10, 20) if step * power >= most * 1.02)


def _reaches_below(claim: Row) -> bool:
    """Whether a row has anything well below 0."""
    kind, _, number = claim["predict"].partition(" ")
    shown = [claim["low"], claim.get("common_low", math.nan), float(number)]
    if kind == "within":
        shown.append(-float(number))
    return min((n for n in shown if math.isfinite(n)), default=0) < -0.1 * _scale(claim)


def _x(value: float, side: float) -> float:
    """Inches from the left of a value in [side, 1]."""
    return LEFT + TEXT + PLOT * (max(side, min(1.0, value)) - side) / (1.0 - side)


def _common(claim: Row) -> dict[str, Any] | None:
    """What was found at the common rates of a grid; None without one."""
    if not claim.get("common_verdict"):
        return None
    names = ("value", "low", "high", "verdict")
    return {name: claim[f"common_{name}"] for name in names}


def _found(row: Row, scale: float) -> str:
    """With as many decimals as the row's scale asks for."""
    decimals = min(6, max(2, 2 - math.floor(math.log10(scale))))
    numbers = (row["value"], row["low"], row["high"])
    return text_tables.interval(*numbers, f"{{:.{decimals}f}}".format) or "nothing"


def _prediction_words(claim: Row) -> str:
    kind, _, number = claim["predict"].partition(" ")
    return f"within ±{number}" if kind == "within" else f"{kind} {number}"


def _text(axes: Axes, x: float, y: float, text: str, **style: Any) -> Any:
    looks: dict[str, Any] = {"va": "top", "linespacing": 1.25} | style
    return axes.text(x, y, text, **looks)
