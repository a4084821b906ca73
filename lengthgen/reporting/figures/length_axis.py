"""An axis of evaluation lengths, a mark of the training length, a strip for missing values."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from lengthgen.reporting.figures import layout, line_names, palette, ticks
from lengthgen.reporting.figures.look import Look, points, scale
from lengthgen.reporting.status_words import STATUS_WORDS

LABEL = "evaluation length (tokens, and as a multiple of the training length)"
SHORT = "evaluation length (tokens, multiple of L)"


def draw(axes: Axes, lengths: Sequence[float], train_length: int) -> None:
    """log2, with a tick at every length; labels where there is room, first at L and the ends."""
    first, last = min(*lengths, train_length), max(*lengths, train_length)
    octaves = max(np.log2(last / first), 0.5)
    axes.set_xscale("log", base=2)
    axes.set_xlim(first / 2 ** (0.04 * octaves), last * 2 ** (0.04 * octaves))
    axes.xaxis.set_major_locator(FixedLocator(lengths))
    axes.xaxis.set_major_formatter(ticks.lengths(train_length, lengths))
    axes.xaxis.set_minor_locator(NullLocator())
    _training_line(axes, train_length)


def label(look: Look, wide: bool = True) -> str:
    """What the axis shows, in the words that have room."""
    return LABEL if wide and not look.narrow else SHORT


def mark_training_length(axes: Axes, train_length: int) -> None:
    """The training length above its line, inside the panel's width."""
    _training_line(axes, train_length)
    words = f"training length {train_length:,}"
    along = (axes.transData - axes.transAxes).transform((train_length, axes.get_ylim()[0]))[0]
    text = axes.text(train_length, 1.015, words, transform=axes.get_xaxis_transform())
    side = "left" if along < 0.3 else "right" if along > 0.7 else "center"
    text.set(ha=side, va="bottom", size=points(8.5), color=layout.GREY)


def _training_line(axes: Axes, train_length: int) -> None:
    line = axes.axvline(train_length, color=layout.GREY, linestyle=(0, (4, 2)), zorder=1)
    line.set_linewidth(scale())


def strip(
    axes: Axes,
    missing: Mapping[str, pd.DataFrame],
    reasons: Mapping[str, str],
    lengths: Sequence[int],
    train_length: int,
    beside: bool = True,
) -> None:
    """A row per scheme without a value at some length: crosses there, the reason on the right.

    beside: whether the reasons stand there; else they are in the legend, beside a cross.
    """
    draw(axes, lengths, train_length)
    axes.set_ylim(len(missing) - 0.5, -0.5)
    axes.yaxis.set_major_locator(NullLocator())
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("no value", rotation=0, ha="right", va="center", color=layout.GREY)
    for row, (scheme, part) in enumerate(missing.items()):
        style = palette.style(scheme)
        (crosses,) = axes.plot(part["eval_length"], [row] * len(part), marker="x", linestyle="none")
        crosses.set(markeredgewidth=1.6 * scale(), color=style.colour)
        if beside:
            line_names.sample(axes, style, reasons[scheme], 1 - (row + 0.5) / len(missing))


def what_is_missing(name: str, part: pd.DataFrame, lengths: Sequence[int]) -> str:
    """`learned refuses > 512`, `rope out of memory at 2048`."""
    texts = []
    for status, rows in part.groupby("status", sort=True):
        absent = [int(length) for length in rows["eval_length"]]
        present = [length for length in lengths if length < absent[0]]
        if present and absent == lengths[len(present) :]:
            where = f"> {present[-1]:,}"
        else:
            where = "" if status == "refused" else "at "
            where += ", ".join(f"{length:,}" for length in absent)
        texts.append(f"{STATUS_WORDS.get(str(status), status)} {where}")
    return f"{name} {'; '.join(texts)}"
