"""The figure of verdicts.csv: F with its interval and the word for it, for every scheme and length.

A row for each scheme and length beyond training. F: statistics/fails_or_uses.py. Colour, marker and
word say the same, so that it can be read without colours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullLocator

from lengthgen.reporting import tables, text_tables
from lengthgen.reporting.figures import layout, palette
from lengthgen.statistics.thresholds import DELTA, IN_USE, SMALLEST_GAIN

ROW = 0.19  # inches
CHARACTER = 0.075  # inches, of a row's label
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
    # Words about the training, not about length: hollow marks.
    "untrained": Look("#8C510A", "s"),
    "positions not in use": Look("#6A3D9A", "v"),
}
HOLLOW = ("untrained", "positions not in use")


def draw(verdicts: pd.DataFrame, n_tokens: int) -> Figure:
    """verdicts: the rows of one group of verdicts.csv. n_tokens: targets scored at each length."""
    schemes = sorted(verdicts["scheme"].unique(), key=palette.order)
    height = ROW * (len(verdicts) + len(schemes) + 0.5)
    texts = {row["eval_length"]: _length(row) for row in tables.as_rows(verdicts)}
    words = [_text(row) for row in tables.as_rows(verdicts)]
    left = max(layout.LEFT, 0.2 + CHARACTER * max(map(len, texts.values())))
    figure, (axes,) = layout.stack([height], _title(verdicts, n_tokens), words, left=left)
    place, ticks, labels = 0, [], []
    for scheme in schemes:
        name = axes.text(0.004, place, scheme, transform=axes.get_yaxis_transform())
        name.set(va="center", size=9, weight="bold", color=palette.style(scheme).colour)
        rows = verdicts[verdicts["scheme"] == scheme].sort_values("eval_length")
        for row in tables.as_rows(rows):
            place += 1
            _row(axes, row, place)
            ticks.append(place)
            labels.append(texts[row["eval_length"]])
        place += 1
    axes.axvspan(-DELTA, DELTA, color="#dddddd", zorder=0)
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    axes.set_ylim(place - 0.4, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter(labels))
    axes.grid(axis="y", visible=False)
    _value_axis(axes, verdicts)
    return figure


def _length(row: Mapping[str, Any]) -> str:
    return f"{int(row['eval_length']):,} ({row['eval_length'] / row['train_length']:.3g}×)"


def _text(row: Mapping[str, Any]) -> str:
    """The word, and F with its interval; without a value the word alone."""
    if row["word"] not in LOOKS:
        return str(row["word"])
    value, low, high = (row[name] for name in tables.ends("failure"))
    return f"{row['word']}  {text_tables.interval(value, low, high, '{:+.3f}'.format)}"


def _row(axes: Axes, row: Mapping[str, Any], place: float) -> None:
    look, colour = LOOKS.get(row["word"]), layout.GREY
    if look:  # else refused, oom, nonfinite: there is no value
        value, low, high = (row[name] for name in tables.ends("failure"))
        colour = look.colour
        axes.plot([low, high], [place] * 2, color=colour, linewidth=1.4, solid_capstyle="butt")
        (point,) = axes.plot([value], [place], color=colour, marker=look.marker, markersize=5)
        hollow = row["word"] in HOLLOW
        point.set(markeredgecolor=colour if hollow else "white")
        point.set(
            markerfacecolor="white" if hollow else colour, markeredgewidth=1 if hollow else 0.5
        )
    label = axes.text(1.02, place, _text(row), transform=axes.get_yaxis_transform())
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


def _known(verdicts: pd.DataFrame, column: str) -> bool:
    return column in verdicts and bool(verdicts[column].notna().any())


def _title(verdicts: pd.DataFrame, n_tokens: int) -> tuple[str, str]:
    length = int(verdicts["train_length"].iloc[0])
    windows = "a window of the text"
    if verdicts["use_hard_window"].notna().any():
        windows += ", and a hard window in every layer"
    n_seeds, first = int(verdicts["n_seeds"].max()), ""
    over = f"two-way over {n_seeds} seeds and" if n_seeds > 1 else "for one seed, over"
    if _known(verdicts, "below_bigram"):
        first += f"untrained: the loss at {length:,} is not surely below a bigram table's. "
    if _known(verdicts, "positions_gain"):
        baselines = " or ".join(sorted(set(verdicts["positions_over"].dropna()) - {""}))
        first += (
            f"positions not in use: at {length:,} the scheme is not surely {IN_USE} nats better "
            f"than {baselines}. "
        )
    gates = set(verdicts["gate"]) if "gate" in verdicts else {""}
    if gates == {""}:
        gate = " Whether any model would gain from longer input on this text was not tested."
    elif "refused" in gates:
        gate = " The corpus gate refused: this text cannot show the use of longer input."
    else:
        gate = ""
    details = (
        f"F with its 95 % interval, {over} {int(verdicts['n_documents'].max())} documents; the "
        f"same {n_tokens:,} target tokens at "
        f"every length; baseline: the scheme's loss at {length:,} tokens. U: the gain over the "
        f"same model confined to {length:,} tokens ({windows}). The first that holds: {first}"
        f"fails: F's interval is above {DELTA} (grey band: 1 % of perplexity). tolerates: it is "
        f"below, and that of a U below {SMALLEST_GAIN}. uses: it is below, and that of every U "
        f"from {SMALLEST_GAIN} up. undecided: none of these. Not corrected for the number of "
        f"rows: exploratory.{gate}"
    )
    return layout.heading("Fails, tolerates or uses longer input", verdicts), details
