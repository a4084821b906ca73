"""One figure a benchmark: a dot with its quartiles a candidate, and the value that it is compared with as a line. No pyplot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from lengthgen.reporting.figures import drawing, layout, palette

HEIGHT = 0.24  # of one candidate
WIDTH, LEFT, RIGHT = 8.2, 2.6, 1.3  # inches
COLOURS = {"pass": "#009E73", "fail": "#D55E00"}  # of a mark; grey: not judged


@dataclass(frozen=True)
class Dot:
    """One line of the figure. mark: the value that must be reached (or not exceeded), drawn as a short bar."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    text: str = ""  # beside the dot, at the right
    mark: float | None = None
    colour: str | None = None  # None: the scheme's own


def of_throughput(rows: Sequence[Mapping[str, Any]]) -> list[Dot]:
    """Speed relative to `none`, with tokens/s beside it, fastest first."""
    found = [
        Dot(r["candidate"], r["of_none"], r["of_none_low"], r["of_none_high"], f"{r['tokens_per_second']:,.0f} tokens/s",
            colour=None if r["kind"] == "scheme" else layout.GREY)
        for r in rows if r["of_none"] is not None
    ]  # fmt: skip
    return sorted(found, key=lambda dot: -dot.value)


def of_memory(rows: Sequence[Mapping[str, Any]], limit: float) -> list[Dot]:
    """Memory relative to `none`, with MiB beside it, least first."""
    found = [
        Dot(r["candidate"], r["of_none"], text=f"{r['above_mib']:,.0f} MiB", mark=limit)
        for r in rows
        if r["of_none"] is not None
    ]
    return sorted(found, key=lambda dot: dot.value)


def of_marks(rows: Sequence[Mapping[str, Any]]) -> list[Dot]:
    """Measured ratios with their pass marks, in the order of the table."""
    return [
        Dot(f"{r['mark']} {r['what']} ({r['bench']})", r["measured"], r["low"], r["high"], f"{r['measured']:.2f}, {r['pass_mark']}",
            float(r["pass_mark"].split()[-1]), COLOURS.get(r["verdict"], layout.GREY))
        for r in rows if r["measured"] is not None
    ]  # fmt: skip


def write(dots: Sequence[Dot], title: str, subtitle: str, axis: str, stem: Path) -> list[Path]:
    """`stem`.png and `stem`.svg; nothing without dots. The same dots give the same bytes."""
    if not dots:
        return []
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(layout.STYLE)
        return drawing.save(draw(dots, title, subtitle, axis), stem)


def draw(dots: Sequence[Dot], title: str, subtitle: str, axis: str) -> Figure:
    """The figure: one line a dot, the first at the top, and a vertical line at 1."""
    left = max(LEFT, 0.065 * max(len(dot.name) for dot in dots) + 0.3)
    width, height = WIDTH - LEFT + left, HEIGHT * len(dots) + 1.4
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.text(0.14 / width, 1 - 0.1 / height, title, weight="bold", size=11, va="top")
    figure.text(0.14 / width, 1 - 0.36 / height, subtitle, size=8.5, color=layout.GREY, va="top")
    axes = figure.add_axes(
        (left / width, 0.55 / height, (width - left - RIGHT) / width, HEIGHT * len(dots) / height)
    )
    axes.axvline(1.0, color=layout.GREY, linewidth=0.9)
    for row, dot in enumerate(dots):
        _draw_dot(axes, row, dot)
    axes.set_yticks(range(len(dots)), [dot.name for dot in dots])
    axes.set_ylim(len(dots) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(axis)
    return figure


def _draw_dot(axes, row: int, dot: Dot) -> None:
    style = palette.style(dot.name)
    colour = dot.colour or style.colour
    if dot.low is not None and dot.high is not None:
        axes.plot(
            [dot.low, dot.high],
            [row, row],
            color=colour,
            linewidth=2.4,
            alpha=0.45,
            solid_capstyle="butt",
        )
    axes.plot(
        [dot.value],
        [row],
        color=colour,
        marker="o" if dot.colour else style.marker,
        linestyle="none",
    )
    if dot.mark is not None:
        axes.plot([dot.mark] * 2, [row - 0.38, row + 0.38], color="black", linewidth=1.2)
    axes.text(
        1.015,
        row,
        dot.text,
        transform=axes.get_yaxis_transform(),
        va="center",
        size=8,
        color=layout.GREY,
    )
