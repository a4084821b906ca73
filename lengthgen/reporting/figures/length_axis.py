"""An axis of evaluation lengths, a mark of the training length, a strip for missing values."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from lengthgen.reporting.figures import layout, palette
from lengthgen.reporting.status_words import STATUS_WORDS

LABEL = "evaluation length (tokens, and as a multiple of the training length)"


def draw(axes: Axes, lengths: Sequence[float], train_length: int) -> None:
    """log2, with a tick at every length; labels where there is room, and at L and the ends."""
    first, last = min(*lengths, train_length), max(*lengths, train_length)
    octaves = max(np.log2(last / first), 0.5)
    axes.set_xscale("log", base=2)
    axes.set_xlim(first / 2 ** (0.04 * octaves), last * 2 ** (0.04 * octaves))
    labelled: list[float] = []
    # The training length and the ends come first, so that they always have room.
    for length in sorted(
        lengths, key=lambda length: (length != train_length, length not in (first, last), length)
    ):
        if all(abs(np.log2(length / other)) > 0.068 * octaves for other in labelled):
            labelled.append(length)
    texts = [
        f"{length:,}\n{length / train_length:.3g}×" if length in labelled else ""
        for length in lengths
    ]
    axes.xaxis.set_major_locator(FixedLocator(lengths))
    axes.xaxis.set_major_formatter(FixedFormatter(texts))
    axes.xaxis.set_minor_locator(NullLocator())
    _training_line(axes, train_length)


def mark_training_length(axes: Axes, train_length: int) -> None:
    _training_line(axes, train_length)
    text = axes.text(
        train_length,
        1.015,
        f"training length {train_length:,}",
        transform=axes.get_xaxis_transform(),
    )
    text.set(ha="center", va="bottom", size=8.5, color=layout.GREY)


def _training_line(axes: Axes, train_length: int) -> None:
    axes.axvline(train_length, color=layout.GREY, linewidth=1, linestyle=(0, (4, 2)), zorder=1)


def strip(
    axes: Axes,
    missing: Mapping[str, pd.DataFrame],
    reasons: Mapping[str, str],
    lengths: Sequence[int],
    train_length: int,
) -> None:
    """A row per scheme without a value at some length: crosses there, the reason on the right."""
    draw(axes, lengths, train_length)
    axes.set_ylim(len(missing) - 0.5, -0.5)
    axes.yaxis.set_major_locator(NullLocator())
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("no value", rotation=0, ha="right", va="center", color=layout.GREY)
    for row, (scheme, part) in enumerate(missing.items()):
        (crosses,) = axes.plot(
            part["eval_length"],
            [row] * len(part),
            linestyle="none",
            marker="x",
            color=palette.style(scheme).colour,
        )
        crosses.set_markeredgewidth(1.6)
        layout.name(axes, scheme, reasons[scheme], 1 - (row + 0.5) / len(missing))


def what_is_missing(scheme: str, part: pd.DataFrame, lengths: Sequence[int]) -> str:
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
    return f"{scheme} {'; '.join(texts)}"
