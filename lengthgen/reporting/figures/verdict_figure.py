"""The figure of verdicts.csv: F with its interval and the word for it, for every scheme and length.

A row for each scheme and length beyond training. F: statistics/fails_or_uses.py. Colour, marker and
word say the same, so that it can be read without colours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullLocator

from lengthgen.reporting import tables, text_tables
from lengthgen.reporting.figures import layout, palette
from lengthgen.statistics.thresholds import DELTA, SMALLEST_GAIN

ROW = 0.19  # inches
LINEAR = 0.05  # nats: the axis is linear within, logarithmic beyond
TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10)


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


def draw(verdicts: pd.DataFrame, n_tokens: int) -> Figure:
    """verdicts: the rows of one group of verdicts.csv. n_tokens: targets scored at each length."""
    schemes = sorted(verdicts["scheme"].unique(), key=palette.order)
    height = ROW * (len(verdicts) + len(schemes) + 0.5)
    figure, (axes,) = layout.stack(
        [height], _title(verdicts, n_tokens), ["undecided +0.0000 [+0.0000, +0.0000]"]
    )
    place, ticks, labels = 0, [], []
    for scheme in schemes:
        name = axes.text(0.004, place, scheme, transform=axes.get_yaxis_transform())
        name.set(va="center", size=9, weight="bold", color=palette.style(scheme).colour)
        rows = verdicts[verdicts["scheme"] == scheme].sort_values("eval_length")
        for row in tables.as_rows(rows):
            place += 1
            _row(axes, row, place)
            ticks.append(place)
            factor = row["eval_length"] / row["train_length"]
            labels.append(f"{int(row['eval_length']):,} ({factor:g}×)")
        place += 1
    axes.axvspan(-DELTA, DELTA, color="#dddddd", zorder=0)
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    axes.set_ylim(place - 0.4, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter(labels))
    axes.grid(axis="y", visible=False)
    _value_axis(axes, verdicts)
    return figure


def _row(axes: Axes, row: dict[str, Any], place: float) -> None:
    look, text, colour = LOOKS.get(row["word"]), row["word"], layout.GREY
    if look:  # else refused, oom, nonfinite: there is no value
        value, low, high = (row[name] for name in tables.ends("failure"))
        colour = look.colour
        text += "  " + text_tables.interval(value, low, high, "{:+.3f}".format)
        axes.plot([low, high], [place] * 2, color=colour, linewidth=1.4, solid_capstyle="butt")
        (point,) = axes.plot([value], [place], color=colour, marker=look.marker, markersize=5)
        point.set(markeredgecolor="white", markeredgewidth=0.5)
    label = axes.text(1.02, place, text, transform=axes.get_yaxis_transform())
    label.set(va="center", size=8, color=colour)


def _value_axis(axes: Axes, verdicts: pd.DataFrame) -> None:
    bounds = verdicts[["failure_low", "failure_high"]].to_numpy(np.float64)
    finite = np.append(bounds[np.isfinite(bounds)], (-DELTA, DELTA))
    low, high = 1.3 * finite.min() - 0.005, 1.3 * finite.max() + 0.005
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=1.0)
    axes.set_xlim(low, high)
    ticks = [*(-tick for tick in TICKS[::-1]), 0, *TICKS]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    axes.set_xlabel(
        "F: change of the mean loss from the training length, nats/token "
        "(below 0: the longer input helps)"
    )


def _title(verdicts: pd.DataFrame, n_tokens: int) -> tuple[str, str]:
    length = int(verdicts["train_length"].iloc[0])
    windows = "a window of the text"
    if verdicts["use_hard_window"].notna().any():
        windows += ", and a hard window in every layer"
    gates = set(verdicts["gate"]) if "gate" in verdicts else {""}
    if gates == {""}:
        gate = " Whether any model would gain from longer input on this text was not tested."
    elif "refused" in gates:
        gate = " The corpus gate refused: this text cannot show the use of longer input."
    else:
        gate = ""
    details = (
        f"F with its 95 % interval, two-way over {int(verdicts['n_seeds'].max())} seeds and "
        f"{int(verdicts['n_documents'].max())} documents; the same {n_tokens:,} target tokens at "
        f"every length; baseline: the scheme's loss at {length:,} tokens. U: the gain over the "
        f"same model confined to {length:,} tokens ({windows}). fails: F's interval is above "
        f"{DELTA} (grey band: 1 % of perplexity). tolerates: it is below, and that of a U below "
        f"{SMALLEST_GAIN}. uses: it is below, and that of every U above 0. undecided: none of "
        f"these. Not corrected for the number of rows: exploratory.{gate}"
    )
    return layout.heading("Fails, tolerates or uses longer input", verdicts), details
