"""What can be done to trained models, to decide by: loss at every length, time, what must be kept.

A row for each arm and condition, a panel for each length. Filled: no other row beats it there
(frontier.py); hollow: one does. Sizes in inches.
"""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from lengthgen.reporting.figures import layout, palette
from lengthgen.studies.study_folder import Row

ROW, NAMES, COST, GAP, ARM = 0.185, 1.75, 1.75, 0.22, 0.3  # of a row, the columns, between arms
DETAILS = (
    "Points with 95 % intervals. Filled: no other row has a surely lower loss at that length while "
    "it is neither surely slower nor keeps more; hollow: one has. Upright line: the best of all "
    "rows there. Time: of a forward pass over {length} tokens, relative to the arm as it was "
    "trained [least and most of {rounds} rounds]; kept: keys and values of all layers after "
    "{length} tokens."
)


def draw(title: str, costs: Sequence[Row], frontier: Sequence[Row]) -> Drawn:
    """costs, frontier: rows of costs.csv and frontier.csv."""
    lengths = sorted({row["eval_length"] for row in frontier})
    panel = min(2.3, 6.4 / len(lengths))
    width = NAMES + len(lengths) * (panel + GAP) + COST + 0.2
    facts = {"length": costs[0]["eval_length"], "rounds": costs[0]["rounds"]}
    heading = textwrap.wrap(title, int(width / 0.094))
    said = textwrap.wrap(DETAILS.format(**facts), int(width / 0.066))
    places, n = _places(costs)
    above = 0.6 + 0.2 * len(heading) + 0.165 * len(said)
    tall = ROW * n
    height = above + tall + 0.6
    figure = Drawn(figsize=(width, height), facecolor="white")
    figure.text(
        0.14 / width, 1 - 0.1 / height, "\n".join(heading), weight="bold", size=11, va="top"
    )
    top = 1 - (0.14 + 0.2 * len(heading)) / height
    below = figure.text(0.14 / width, top, "\n".join(said), size=8.5, va="top")
    below.set(color=layout.GREY, linespacing=1.35)
    axes = None
    for number, length in enumerate(lengths):
        x = NAMES + number * (panel + GAP)
        axes = figure.add_axes((x / width, 0.6 / height, panel / width, tall / height))
        rows = [row for row in frontier if row["eval_length"] == length]
        _panel(axes, rows, places, n, names=number == 0)
        axes.set_title(f"{length:,} tokens", size=9, loc="left", color=layout.GREY)
    if axes is not None:
        _costs(axes, costs, frontier, places, panel)
    return figure


def _places(costs: Sequence[Row]) -> tuple[dict[str, float], float]:
    """Subject -> its row, arms apart; and how many rows there are."""
    places, place, arm = {}, 0.0, ""
    for row in costs:
        before, arm = arm, row["subject"].partition("+")[0]
        place += 1 + (ARM / ROW - 1 if before and arm != before else 0)
        places[row["subject"]] = place
    return places, place + 1


def _panel(
    axes: Axes, rows: Sequence[Row], places: dict[str, float], n: float, names: bool
) -> None:
    for row in rows:
        y, style = places[row["subject"]], palette.style(_scheme(row["subject"]))
        colour = style.colour
        axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.3, alpha=0.8)
        (point,) = axes.plot(row["loss"], y, marker="o", markersize=5.5, color=colour)
        point.set_markerfacecolor("white" if row["beaten_by"] else colour)
    axes.axvline(min(row["loss"] for row in rows), color=layout.GREY, linewidth=0.8, zorder=1)
    axes.set_ylim(n, 0)
    axes.yaxis.set_major_locator(FixedLocator(list(places.values())))
    labels = [name if "+" not in name else f"+{name.partition('+')[2]}" for name in places]
    axes.yaxis.set_major_formatter(FixedFormatter(labels if names else [""] * len(labels)))
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("loss (nats/token)", size=8.5)
    if names:
        for label, name in zip(axes.get_yticklabels(), places, strict=True):
            label.set_fontweight("normal" if "+" in name else "bold")


def _costs(
    axes: Axes,
    costs: Sequence[Row],
    frontier: Sequence[Row],
    places: dict[str, float],
    panel: float,
) -> None:
    """Two columns of numbers right of the last panel."""
    kept = {(row["subject"], row["eval_length"]): row["kept_mib"] for row in frontier}
    for inches, head in ((0.08, "time"), (1.25, "kept MiB")):
        text = axes.text(1 + inches / panel, 0.2, head, transform=axes.get_yaxis_transform())
        text.set(size=8, color=layout.GREY, va="center")
    for row in costs:
        y = places[row["subject"]]
        time = f"{row['of_trained']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        mib = kept.get((row["subject"], row["eval_length"]))
        for inches, said in ((0.08, time), (1.25, "" if mib is None else f"{mib:.2f}")):
            text = axes.text(1 + inches / panel, y, said, transform=axes.get_yaxis_transform())
            text.set(size=8, va="center")


def _scheme(subject: str) -> str:
    """The scheme that an arm's name ends in, for its colour: text_t5_bias -> t5_bias."""
    arm = subject.partition("+")[0]
    return next((name for name in palette.KNOWN if arm.endswith(name)), arm)
