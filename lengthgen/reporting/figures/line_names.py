"""The names of lines: beside their ends, where none overlaps another, or in a legend below.

A name is joined to the end of its line. Sizes in inches; heights of names as shares of a panel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform, blended_transform_factory

from lengthgen.reporting.figures import measure
from lengthgen.reporting.figures.look import Look, inches, points, scale
from lengthgen.reporting.figures.palette import Style, edge

ROW = 0.185  # height of one name
SIZE, LEGEND = 9, 8.5  # points
BESIDE = 0.36  # share of a figure's width that names beside a panel may take
SAMPLE = (0.15, 0.31, 0.47)  # right of the panel: a piece of the line with its marker
TEXT = 0.52


@dataclass(frozen=True)
class End:
    """The last point of a line, in data units, and its name. y: None if it ends earlier."""

    style: Style
    x: float
    y: float | None
    text: str


def fit_beside(texts: Sequence[str], look: Look) -> bool:
    """Whether names have room beside the panels, in the figure's width."""
    if look.width is None:
        return True
    widest = max((measure.width(text, points(SIZE)) for text in texts), default=0.0)
    return inches(TEXT) + widest <= BESIDE * look.width


def beside(axes: Axes, ends: Sequence[End], height: float) -> None:
    """Names at the right, as near to the ends of their lines as others allow, joined to them.

    height: of the panel, inches at a page's size of text. A line that ends outside the panel is
    named on that side, one without y at the bottom, both unjoined.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    points_of = [
        to_axes.transform((end.x, end.y))
        if end.y is not None and np.isfinite(end.y)
        else np.array((1.0, -np.inf))
        for end in ends
    ]
    order = sorted(range(len(ends)), key=lambda i: (1 - points_of[i][1], i))
    inset = ROW / 2 / height  # so that the names of two panels do not touch
    wanted = [1 - points_of[i][1] for i in order]
    for i, place in zip(order, spread(wanted, ROW / height, inset), strict=True):
        x, y = points_of[i]
        sample(axes, ends[i].style, ends[i].text, 1 - place)
        if 0 <= y <= 1:
            _join(axes, ends[i].style, min(x, 1.0), y, 1 - place)


def sample(axes: Axes, style: Style, text: str, y: float) -> None:
    """A piece of a line and its name, right of the panel at height y, 0 to 1."""
    right = right_of(axes)
    line = _line(style, [inches(x) for x in SAMPLE], [y] * 3)
    line.set(clip_on=False, markevery=[1], transform=right)
    axes.add_artist(line)
    axes.text(inches(TEXT), y, text, transform=right, va="center", ha="left", size=points(SIZE))


def below(axes: Axes, entries: Sequence[tuple[Style, str]], offset: float | None = None) -> None:
    """A legend below the figure, or `offset` inches below a panel. entries: (style, name)."""
    sheet = axes.figure
    assert isinstance(sheet, Figure)
    width = sheet.get_figwidth()
    size = points(LEGEND)
    handle, gap = inches(0.36), inches(0.2)
    # Below a panel it begins where the panel does.
    room = width - (2 * inches(0.1) if offset is None else inches(0.85))
    texts = ["\n".join(measure.wrap(text, room - handle - gap, size)) for _, text in entries]
    widest = max(measure.width(text, size) for text in texts)
    columns = max(1, min(len(texts), int(room / (widest + handle + gap))))
    handles = [_line(style, [0, 1], [0, 0]) for style, _ in entries]
    look = {
        "ncols": columns, "frameon": False, "fontsize": size, "handlelength": handle * 72 / size,
        "columnspacing": 0.8, "handletextpad": 0.5, "labelspacing": 0.25, "borderpad": 0.0,
    }  # fmt: skip
    if offset is None:
        legend = sheet.legend(handles, texts, loc="outside lower left", **look)
    else:
        under = ScaledTranslation(0, -inches(offset), sheet.dpi_scale_trans)
        legend = axes.legend(
            handles, texts, loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=0,
            bbox_transform=axes.transAxes + under, **look,
        )  # fmt: skip
    for drawn, (style, _) in zip(legend.get_lines(), entries, strict=True):
        drawn.set_markeredgewidth((1.6 if style.marker == "x" else 0.5) * scale())


def spread(wanted: Sequence[float], gap: float, inset: float = 0.0) -> list[float]:
    """Places in [inset, 1 - inset], at least `gap` apart and else as near to `wanted` as possible.

    wanted: ascending. Where there is no room for the gaps, they shrink alike.
    """
    # Isotonic regression of wanted - i * gap by pooling adjacent violators: neighbours that
    # collide share their mean.
    gap = min(gap, (1 - 2 * inset) / max(1, len(wanted) - 1))
    last = 1 - inset - gap * (len(wanted) - 1)
    blocks: list[list[float]] = []  # [place, members]
    for index, target in enumerate(wanted):
        blocks.append([min(max(target - index * gap, inset), last), 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            place, size = blocks.pop()
            before, members = blocks[-1]
            blocks[-1] = [(before * members + place * size) / (members + size), members + size]
    starts = [place for place, size in blocks for _ in range(int(size))]
    return [start + index * gap for index, start in enumerate(starts)]


def right_of(axes: Axes, in_data: bool = False) -> Transform:
    """(inches right of the panel, share of its height; in_data: y of its data)"""
    figure = axes.figure
    assert figure is not None
    edge = ScaledTranslation(1, 0, axes.transAxes)  # type: ignore[arg-type]
    y = axes.transData if in_data else axes.transAxes
    return blended_transform_factory(figure.dpi_scale_trans + edge, y)


def _join(axes: Axes, style: Style, x: float, y: float, place: float) -> None:
    """From a line's end to its name: a level piece inside the panel, a slanting one beside it."""
    level = Line2D([x, 1.0], [y, y], transform=axes.transAxes)
    slanting = Line2D([0, inches(0.14)], [y, place], transform=right_of(axes))
    for piece in (level, slanting):
        piece.set(color=style.colour, linewidth=0.6, alpha=0.6, zorder=1, clip_on=False)
        axes.add_artist(piece)


def _line(style: Style, x: Sequence[float], y: Sequence[float]) -> Line2D:
    line = Line2D(x, y, color=style.colour, linestyle=style.line or "none", marker=style.marker)
    line.set(markeredgecolor=edge(style), markeredgewidth=0.5 * scale())
    return line
