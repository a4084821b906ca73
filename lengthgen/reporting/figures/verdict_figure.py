"""The figure of verdicts.csv: for every scheme and length how much it fails, with its interval, and the word for it. Matplotlib alone.

A row for each scheme and evaluation length beyond the training length; the point is F, the change of the mean loss from the training length
on the same targets (evaluation/context.py), nats/token. Colour, marker and word say the same: neither a printer nor an eye loses it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullLocator

from lengthgen.reporting.figures import layout, palette
from lengthgen.statistics.thresholds import DELTA, SMALLEST_GAIN

ROW = 0.19  # inches
LINEAR = 0.05  # nats: the axis is linear within, logarithmic beyond


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str


LOOKS = {
    "fails": Look("#B2182B", "X"),
    "tolerates": Look("#2166AC", "o"),
    "uses": Look("#1B7837", "^"),
    "undecided": Look("#777777", "D"),
}


def draw(answers: pd.DataFrame, n_tokens: int) -> Figure:
    """answers: the rows of one group of verdicts.csv. n_tokens: targets scored at each length."""
    schemes = sorted(answers["scheme"].unique(), key=palette.order)
    rows = [
        row
        for scheme in schemes
        for row in answers[answers["scheme"] == scheme]
        .sort_values("eval_length")
        .to_dict("records")
    ]
    height = ROW * (len(rows) + len(schemes) + 0.5)
    figure, (axes,) = layout.stack(
        [height], _title(answers, n_tokens), ["undecided +0.0000 [+0.0000, +0.0000]"]
    )
    place, ticks, labels = 0.0, [], []
    for scheme in schemes:
        axes.text(
            0.004,
            place,
            scheme,
            transform=axes.get_yaxis_transform(),
            va="center",
            size=9,
            weight="bold",
            color=palette.style(scheme).colour,
        )
        place += 1
        for row in (row for row in rows if row["scheme"] == scheme):
            _row(axes, row, place)
            ticks.append(place)
            labels.append(
                f"{int(row['eval_length']):,} ({row['eval_length'] / row['train_length']:g}×)"
            )
            place += 1
    axes.axvspan(-DELTA, DELTA, color="#dddddd", zorder=0)
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    axes.set_ylim(place - 0.4, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter(labels))
    axes.grid(axis="y", visible=False)
    _value_axis(axes, answers)
    return figure


def _row(axes: Axes, row: dict, place: float) -> None:
    look = LOOKS.get(row["word"])
    if look is None:  # refused, oom, nonfinite: no value
        axes.text(
            1.02,
            place,
            row["word"],
            transform=axes.get_yaxis_transform(),
            va="center",
            size=8,
            color=layout.GREY,
        )
        return
    axes.plot(
        [row["failure_low"], row["failure_high"]],
        [place, place],
        color=look.colour,
        linewidth=1.4,
        solid_capstyle="butt",
    )
    axes.plot(
        [row["failure"]],
        [place],
        color=look.colour,
        marker=look.marker,
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.5,
    )
    text = f"{row['word']}  {row['failure']:+.3f} [{row['failure_low']:+.3f}, {row['failure_high']:+.3f}]"
    axes.text(
        1.02,
        place,
        text,
        transform=axes.get_yaxis_transform(),
        va="center",
        size=8,
        color=look.colour,
    )


def _value_axis(axes: Axes, answers: pd.DataFrame) -> None:
    bounds = answers[["failure_low", "failure_high"]].to_numpy(np.float64)
    bounds = bounds[np.isfinite(bounds)]
    low, high = (
        (min(bounds.min(), -DELTA), max(bounds.max(), DELTA)) if bounds.size else (-DELTA, DELTA)
    )
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=1.0)
    axes.set_xlim(low * 1.3 - 0.005, high * 1.3 + 0.005)
    steps = [0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]
    inside = [
        tick
        for tick in [*(-step for step in steps[:0:-1]), *steps]
        if low * 1.3 - 0.005 <= tick <= high * 1.3 + 0.005
    ]
    axes.xaxis.set_major_locator(FixedLocator(inside))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    axes.set_xlabel(
        "F: change of the mean loss from the training length, nats/token (below 0: the longer input helps)"
    )


def _title(answers: pd.DataFrame, n_tokens: int) -> tuple[str, str]:
    first = answers.iloc[0]
    length, seeds, documents = (
        int(first["train_length"]),
        answers["n_seeds"].max(),
        answers["n_documents"].max(),
    )
    windows = (
        "a window of the text, and a hard window in every layer"
        if answers["use_hard_window"].notna().any()
        else "a window of the text"
    )
    gate = answers["gate"] if "gate" in answers else pd.Series([""] * len(answers))
    refused = (
        " The corpus gate refused: this text cannot show the use of longer input."
        if (gate == "refused").any()
        else ""
    )
    tried = (
        ""
        if (gate != "").any()
        else " Whether any model would gain by longer input on this text was not asked."
    )
    details = (
        f"F with its 95 % interval, two-way over {int(seeds)} seeds and {int(documents)} documents; the same {n_tokens:,} target tokens at "
        f"every length, baseline: the scheme's own loss at {length:,} tokens. fails: F surely above {DELTA} (grey band: 1 % of "
        f"perplexity). tolerates: surely below, and not {SMALLEST_GAIN} better than the same model confined to {length:,} tokens "
        f"({windows}). uses: surely below, and surely better than confined. undecided: else. Not corrected for the number of rows: "
        f"exploratory.{refused}{tried}"
    )
    what = f"{first['dataset']}, {first['model']} model, trained at {length:,} tokens"
    return f"Fails, tolerates or uses longer input: {what}", details
