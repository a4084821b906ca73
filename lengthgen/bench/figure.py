"""One figure a benchmark: a dot with its quartiles for each candidate, and a line at 1."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lengthgen.reporting.figures import drawing, layout, measure, palette
from lengthgen.reporting.figures.look import PAGE, Look, points, scale
from lengthgen.reporting.figures.sheet import Sheet

HEIGHT, LINE, PLOT = 0.24, 0.14, 4.3  # inches: of one candidate, of a name's second line, a width
COLOURS = {"pass": "#009E73", "fail": "#D55E00"}  # of a mark; grey: not judged


@dataclass(frozen=True)
class Dot:
    """One line of the figure."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    text: str = ""  # beside the dot, at the right
    mark: float | None = None  # a short bar at the value to reach, or not to exceed
    colour: str | None = None  # None: the scheme's own


def of_throughput(rows: Sequence[Mapping[str, Any]]) -> list[Dot]:
    """Speed relative to `none`, with tokens/s beside it, fastest first."""
    dots = [
        Dot(
            row["candidate"],
            row["of_none"],
            row["of_none_low"],
            row["of_none_high"],
            f"{row['tokens_per_second']:,.0f} tokens/s",
            colour=None if row["kind"] == "scheme" else layout.GREY,
        )
        for row in rows
        if row["of_none"] is not None
    ]
    return sorted(dots, key=lambda dot: -dot.value)


def of_decoding(rows: Sequence[Mapping[str, Any]]) -> list[Dot]:
    """Speed of decoding relative to the first candidate at each length, in the table's order."""
    return [
        Dot(
            f"{row['candidate']}, {row['tokens']:,} × {row['batch']}",
            row["of_first"],
            row["of_first_low"],
            row["of_first_high"],
            f"{row['decode_tokens_per_second']:,.0f} tokens/s",
            colour=layout.GREY,
        )
        for row in rows
        if row["of_first"] is not None
    ]


def of_memory(rows: Sequence[Mapping[str, Any]], limit: float) -> list[Dot]:
    """Memory relative to `none`, with MiB beside it, least first."""
    dots = [
        Dot(row["candidate"], row["of_none"], text=f"{row['above_mib']:,.0f} MiB", mark=limit)
        for row in rows
        if row["of_none"] is not None
    ]
    return sorted(dots, key=lambda dot: dot.value)


def of_marks(rows: Sequence[Mapping[str, Any]]) -> list[Dot]:
    """Measured ratios with their pass marks, in the order of the table."""
    return [
        Dot(
            f"{row['what']} ({row['bench']})",
            row["measured"],
            row["low"],
            row["high"],
            f"{row['measured']:.2f}, {row['pass_mark']}",
            float(row["pass_mark"].split()[-1]),
            COLOURS.get(row["verdict"], layout.GREY),
        )
        for row in rows
        if row["measured"] is not None
    ]


def write(
    dots: Sequence[Dot], title: str, subtitle: str, axis: str, stem: Path, look: Look = PAGE
) -> list[Path]:
    """`stem`.png and `stem`.svg; nothing without dots. The same dots give the same bytes."""
    if not dots:
        return []
    with drawing.fixed_style(look):
        return drawing.save(draw(dots, title, subtitle, axis, look), stem, look)


def draw(dots: Sequence[Dot], title: str, subtitle: str, axis: str, look: Look = PAGE) -> Sheet:
    """The figure: one line a dot, the first at the top, and a vertical line at 1."""
    names = [_called(dot.name, look) for dot in dots]
    row = HEIGHT + LINE * max(name.count("\n") for name in names)
    sheet = Sheet((title, subtitle), look)
    (axes,) = sheet.panels([row * len(dots)], 1, PLOT)
    axes.axvline(1.0, color=layout.GREY, linewidth=0.9 * scale())
    for number, dot in enumerate(dots):
        _draw_dot(axes, number, dot)
    axes.set_yticks(range(len(dots)), names)
    axes.set_ylim(len(dots) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(4 if look.narrow else 8))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    room = look.width * 0.8 if look.width else math.inf
    axes.set_xlabel("\n".join(measure.wrap(axis, room, points(9))))
    return sheet.fit()


def _called(name: str, look: Look) -> str:
    """`t5_bias, 4,096 × 1` by the scheme's name, in lines that leave room for the plot."""
    scheme, comma, rest = name.partition(",")
    called = f"{look.name(scheme)}{comma}{rest}"
    if look.width is None:
        return called
    return "\n".join(measure.wrap(called, 0.34 * look.width, points(9)))


def _draw_dot(axes: Axes, row: int, dot: Dot) -> None:
    style = palette.style(dot.name)
    colour = dot.colour or style.colour
    if dot.low is not None and dot.high is not None:
        bar: dict[str, Any] = {"linewidth": 2.4 * scale(), "alpha": 0.45, "solid_capstyle": "butt"}
        axes.plot([dot.low, dot.high], [row, row], color=colour, **bar)
    marker = "o" if dot.colour else style.marker
    axes.plot([dot.value], [row], color=colour, marker=marker, linestyle="none")
    if dot.mark is not None:
        axes.plot([dot.mark] * 2, [row - 0.38, row + 0.38], color="black", linewidth=1.2 * scale())
    beside = axes.get_yaxis_transform()
    axes.text(
        1.015, row, dot.text, transform=beside, va="center", size=points(8), color=layout.GREY
    )
