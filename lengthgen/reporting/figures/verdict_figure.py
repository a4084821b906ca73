"""The figure of verdicts.csv: F with its interval and the word for it, for every scheme and length.

A row for each scheme and length beyond training. F: statistics/fails_or_uses.py. Colour, marker and
word say the same, so that it can be read without colours.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator

from lengthgen.reporting import tables, text_tables
from lengthgen.reporting.figures import layout, measure, palette, value_axis
from lengthgen.reporting.figures.look import PAGE, Look, inches, points, scale
from lengthgen.reporting.figures.sheet import Sheet
from lengthgen.statistics.thresholds import DELTA, IN_USE, SMALLEST_GAIN

ROW = 0.19  # inches
NAME = 9  # points
LONG = 12  # schemes: more are in the order of their results
LINEAR = 0.05  # nats: the axis is linear within, logarithmic beyond


@dataclass(frozen=True)
class Mark:
    colour: str
    marker: str


MARKS = {
    "fails": Mark("#B2182B", "X"),
    "tolerates": Mark("#2166AC", "o"),
    "uses": Mark("#1B7837", "^"),
    "undecided": Mark("#777777", "D"),
    # Words about the training, not about length: hollow marks.
    "untrained": Mark("#8C510A", "s"),
    "positions not in use": Mark("#6A3D9A", "v"),
}
HOLLOW = ("untrained", "positions not in use")


def draw(verdicts: pd.DataFrame, n_tokens: int, look: Look = PAGE) -> Sheet:
    """verdicts: the rows of one group of verdicts.csv. n_tokens: targets scored at each length."""
    schemes = sorted(verdicts["scheme"].unique(), key=palette.order)
    if len(schemes) > LONG:
        schemes = by_result(verdicts)
    room = (look.width or 8.0) - inches(1.0)
    headings = {
        scheme: measure.wrap(look.name(scheme), room, points(NAME), "bold") for scheme in schemes
    }
    n_rows = len(verdicts) + sum(map(len, headings.values()))
    sheet = Sheet(_title(verdicts, n_tokens, by_order=len(schemes) > LONG), look)
    (axes,) = sheet.panels([ROW * (n_rows + 0.5)])
    place, ticks, labels = 0.0, [], []
    for scheme in schemes:
        lines = headings[scheme]
        middle = place + (len(lines) - 1) / 2
        name = axes.text(0.004, middle, "\n".join(lines), transform=axes.get_yaxis_transform())
        name.set(va="center", size=points(NAME), weight="bold", color=palette.style(scheme).colour)
        name.set_in_layout(False)  # it stands over the panel and what is right of it
        rows = verdicts[verdicts["scheme"] == scheme].sort_values("eval_length")
        place += len(lines) - 1
        for row in tables.as_rows(rows):
            place += 1
            _row(axes, row, place, short=look.narrow)
            ticks.append(place)
            labels.append(_length(row))
        place += 1
    axes.axvspan(-DELTA, DELTA, color="#dddddd", zorder=0)
    axes.axvline(0, color="black", linewidth=0.8 * scale(), zorder=1)
    axes.set_ylim(place - 0.4, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter(labels))
    axes.grid(axis="y", visible=False)
    _value_axis(axes, verdicts, look)
    return sheet.fit()


def by_result(verdicts: pd.DataFrame) -> list[str]:
    """Schemes from the least to the greatest F at their longest length; last, those without one."""
    known = verdicts[verdicts["failure"].notna()].sort_values("eval_length")
    final = known.groupby("scheme")["failure"].last()
    longest = known.groupby("scheme")["eval_length"].last()

    def key(scheme: str) -> tuple:
        if scheme not in final:
            return (0, math.inf, *palette.order(scheme))
        return (-int(longest[scheme]), float(final[scheme]), *palette.order(scheme))

    return sorted(verdicts["scheme"].unique(), key=key)


def _length(row: Mapping[str, Any]) -> str:
    return f"{int(row['eval_length']):,} ({row['eval_length'] / row['train_length']:.3g}×)"


def _text(row: Mapping[str, Any], short: bool) -> str:
    """The word, and F with its interval; without a value the word alone. short: no interval."""
    if row["word"] not in MARKS:
        return str(row["word"])
    value, low, high = (row[name] for name in tables.ends("failure"))
    if short:
        low = high = math.nan
    return f"{row['word']}  {text_tables.interval(value, low, high, '{:+.3f}'.format)}"


def _row(axes: Axes, row: Mapping[str, Any], place: float, short: bool) -> None:
    mark, colour = MARKS.get(row["word"]), layout.GREY
    if mark:  # else refused, oom, nonfinite: there is no value
        value, low, high = (row[name] for name in tables.ends("failure"))
        colour, thin = mark.colour, 1.4 * scale()
        axes.plot([low, high], [place] * 2, color=colour, linewidth=thin, solid_capstyle="butt")
        (point,) = axes.plot(
            [value], [place], color=colour, marker=mark.marker, markersize=5 * scale()
        )
        hollow = row["word"] in HOLLOW
        point.set(markeredgecolor=colour if hollow else "white")
        point.set(
            markerfacecolor="white" if hollow else colour,
            markeredgewidth=(1 if hollow else 0.5) * scale(),
        )
    label = axes.text(1.02, place, _text(row, short), transform=axes.get_yaxis_transform())
    label.set(va="center", size=points(8), color=colour)


def _value_axis(axes: Axes, verdicts: pd.DataFrame, look: Look) -> None:
    bounds = verdicts[["failure_low", "failure_high"]].to_numpy(np.float64)
    finite = np.append(bounds[np.isfinite(bounds)], (-DELTA, DELTA))
    low, high = 1.3 * finite.min() - 0.005, 1.3 * finite.max() + 0.005
    named = value_axis.signed_logarithmic(axes, low, high, LINEAR)
    if look.narrow:
        axes.set_xlabel("F: change of the loss (nats/token)" + (f"\n{named}" if named else ""))
        return
    axes.set_xlabel(
        "F: change of the mean loss from the training length, nats/token "
        "(below 0: the longer input helps)" + (f"\n{named}" if named else "")
    )


def _known(verdicts: pd.DataFrame, column: str) -> bool:
    return column in verdicts and bool(verdicts[column].notna().any())


def _title(verdicts: pd.DataFrame, n_tokens: int, by_order: bool = False) -> tuple[str, str]:
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
    if by_order:
        details += " From the least F at the longest length to the greatest."
    return layout.heading("Fails, tolerates or uses longer input", verdicts), details
