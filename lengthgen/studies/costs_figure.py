"""What can be done to trained models, to decide by: loss at every length, time, what must be kept.

A row for each arm and condition, a panel for each length. Filled: no other row beats it there
(frontier.py); hollow: one does. Sizes in inches.
"""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from lengthgen.reporting.figures import layout, line_names, measure, palette
from lengthgen.reporting.figures.look import PAGE, Look, inches, points, scale
from lengthgen.reporting.figures.sheet import Sheet
from lengthgen.studies.study_folder import Row

ROW, ARM, LINE = 0.185, 0.3, 0.12  # inches: of a row, between arms, of a name's second line
LEAST, MOST, ALL = 1.1, 2.3, 6.4  # of a panel, and of all together
DETAILS = (
    "Points with 95 % intervals. Filled: no other row has a surely lower loss at that length while "
    "it is neither surely slower nor keeps more; hollow: one has. Upright line: the best of all "
    "rows there. Time: of a forward pass over {length} tokens, relative to the arm as it was "
    "trained [least and most of {rounds} rounds]; kept: keys and values of all layers after "
    "{length} tokens."
)


def draw(title: str, costs: Sequence[Row], frontier: Sequence[Row], look: Look = PAGE) -> Sheet:
    """costs, frontier: rows of costs.csv and frontier.csv."""
    lengths = sorted({row["eval_length"] for row in frontier})
    # Where they have no room beside one another, panels stand below one another.
    columns = 1 if look.narrow else len(lengths)
    facts = {"length": costs[0]["eval_length"], "rounds": costs[0]["rounds"]}
    places, n = _places(costs)
    names = _names(places, look)
    row = ROW + LINE * max(name.count("\n") for name in names)
    sheet = Sheet((title, DETAILS.format(**facts)), look)
    panel = max(LEAST, min(MOST, ALL / len(lengths)))
    panels = sheet.panels([row * n] * (len(lengths) // columns), columns, panel, gap=0.06)
    for number, (axes, length) in enumerate(zip(panels, lengths, strict=True)):
        rows = [row for row in frontier if row["eval_length"] == length]
        _panel(axes, rows, places, n, names if number % columns == 0 else [""] * len(names))
        axes.set_title(f"{length:,} tokens", size=points(9), loc="left", color=layout.GREY)
        if number >= len(lengths) - columns:
            axes.set_xlabel("loss (nats/token)", size=points(8.5))
        if look.narrow or number == len(lengths) - 1:
            _costs(axes, costs, frontier, places, short=look.narrow)
    return sheet.fit()


def _names(places: Mapping[str, float], look: Look) -> list[str]:
    """Of the rows: an arm by its name, its conditions by theirs, in lines that leave room."""
    names = [
        look.name(name) if "+" not in name else f"+{look.name(name.partition('+')[2])}"
        for name in places
    ]
    if look.width is None:
        return names
    return ["\n".join(measure.wrap(name, 0.4 * look.width, points(8))) for name in names]


def _places(costs: Sequence[Row]) -> tuple[dict[str, float], float]:
    """Subject -> its row, arms apart; and how many rows there are."""
    places, place, arm = {}, 0.0, ""
    for row in costs:
        before, arm = arm, row["subject"].partition("+")[0]
        place += 1 + (ARM / ROW - 1 if before and arm != before else 0)
        places[row["subject"]] = place
    return places, place + 1


def _panel(
    axes: Axes, rows: Sequence[Row], places: dict[str, float], n: float, names: Sequence[str]
) -> None:
    for row in rows:
        y, style = places[row["subject"]], palette.style(_scheme(row["subject"]))
        colour = style.colour
        axes.plot(
            [row["low"], row["high"]], [y, y], color=colour, linewidth=1.3 * scale(), alpha=0.8
        )
        (point,) = axes.plot(row["loss"], y, marker="o", markersize=5.5 * scale(), color=colour)
        point.set_markerfacecolor("white" if row["beaten_by"] else colour)
    axes.axvline(
        min(row["loss"] for row in rows), color=layout.GREY, linewidth=0.8 * scale(), zorder=1
    )
    axes.set_ylim(n, 0)
    axes.yaxis.set_major_locator(FixedLocator(list(places.values())))
    axes.yaxis.set_major_formatter(FixedFormatter(list(names)))
    axes.tick_params(axis="y", length=0, labelsize=points(8))
    axes.tick_params(axis="x", labelsize=points(8))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    for label, name in zip(axes.get_yticklabels(), places, strict=True):
        label.set_fontweight("normal" if "+" in name else "bold")


def _costs(
    axes: Axes, costs: Sequence[Row], frontier: Sequence[Row], places: dict[str, float], short: bool
) -> None:
    """Two columns of numbers right of a panel. short: times without the range of their rounds."""
    kept = {(row["subject"], row["eval_length"]): row["kept_mib"] for row in frontier}
    cells = [("", 0.2, "time", "MiB" if short else "kept MiB")]
    for row in costs:
        time = f"{row['of_trained']:.2f}"
        time += "" if short else f" [{row['low']:.2f}, {row['high']:.2f}]"
        mib = kept.get((row["subject"], row["eval_length"]))
        cells.append((row["subject"], places[row["subject"]], time, f"{mib:.2f}" if mib else ""))
    first = max(measure.width(time, points(8)) for _, _, time, _ in cells)
    for subject, y, time, mib in cells:
        for x, text in ((inches(0.08), time), (inches(0.18) + first, mib)):
            label = axes.text(x, y, text, transform=line_names.right_of(axes, in_data=True))
            label.set(size=points(8), va="center", color="black" if subject else layout.GREY)


def _scheme(subject: str) -> str:
    """The scheme that an arm's name ends in, for its colour: text_t5_bias -> t5_bias."""
    arm = subject.partition("+")[0]
    return next((name for name in palette.KNOWN if arm.endswith(name)), arm)
