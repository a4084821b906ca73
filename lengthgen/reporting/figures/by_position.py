"""Mean loss by position in a window of the longest length that each scheme can read. No torch."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

from lengthgen.reporting.figures import (
    by_length,
    layout,
    length_axis,
    line_names,
    palette,
    ticks,
    wording,
)
from lengthgen.reporting.figures.line_names import End
from lengthgen.reporting.figures.look import PAGE, Look
from lengthgen.reporting.figures.sheet import Sheet

LABEL = "position in the window (tokens, and as a multiple of the training length)"
SHORT = "position in the window (tokens, multiple of L)"


def loss_by_position(bins: pd.DataFrame, rows: pd.DataFrame, look: Look = PAGE) -> Sheet:
    """bins: of one group, as tables.positions_over_seeds gives them. rows: the group's summary."""
    train_length, longest = int(rows["train_length"].iloc[0]), int(bins["eval_length"].max())
    lines = _lines(bins)
    names = {
        scheme: look.name(scheme)
        + (
            ""
            if (window := int(line["eval_length"].max())) == longest
            else f" (window of {window:,})"
        )
        for scheme, line in lines.items()
    }
    beside = line_names.fit_beside(list(names.values()), look)
    names_high = line_names.ROW * (len(lines) + 1) if beside else 0.0
    height = max(2.2 if look.narrow else 3.6, names_high)
    sheet = Sheet(_title(lines, longest, rows), look)
    (panel,) = sheet.panels([height])
    ends = {}
    for index, (scheme, line) in enumerate(lines.items()):
        middle = (line["position"] + line["position_end"]) / 2
        every = max(1, round(longest / 9 / (line["position_end"] - line["position"]).median()))
        marks = (index * every // len(lines), every)  # the schemes' markers take turns
        style = palette.style(scheme)
        layout.line(panel, style, middle, line["value"], line["low"], line["high"], marks)
        whole = int(line["eval_length"].max()) == longest
        y = line["value"].iloc[-1] if whole else None
        ends[scheme] = End(style, middle.iloc[-1], y, names[scheme])
    floor = by_length.floor_of(rows[rows["protocol"] == "matched"], "loss")
    if floor is not None:
        layout.floor(panel, [0, longest], [float(floor.iloc[-1])] * 2, short=look.narrow)
    _axes(panel, train_length, longest, look)
    if beside:
        line_names.beside(panel, list(ends.values()), height)
    else:
        order = sorted(ends, key=lambda scheme: -lines[scheme]["value"].iloc[-1])
        line_names.below(panel, [(ends[scheme].style, names[scheme]) for scheme in order])
    length_axis.mark_training_length(panel, train_length)
    return sheet.fit()


def _lines(bins: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Scheme -> its bins in its longest window, by position."""
    finite = bins[np.isfinite(bins["value"].astype(float))]
    lines = {}
    for scheme in sorted(finite["scheme"].unique(), key=palette.order):
        of_scheme = finite[finite["scheme"] == scheme]
        window = int(of_scheme["eval_length"].max())
        lines[scheme] = of_scheme[of_scheme["eval_length"] == window].sort_values("position")
    return lines


def _axes(panel: Axes, train_length: int, longest: int, look: Look) -> None:
    panel.set_xlim(0, longest)
    multiples = longest / train_length
    step = 0.5 if multiples <= 2 else max(1, round(multiples / 8))
    places = np.arange(0, longest + 1, train_length * step).tolist()
    panel.xaxis.set_major_locator(FixedLocator(places))
    panel.xaxis.set_major_formatter(ticks.lengths(train_length, places))
    panel.yaxis.set_major_locator(MaxNLocator(7))
    panel.set_ylabel("loss (nats/token)")
    panel.set_xlabel(SHORT if look.narrow else LABEL)


def _title(lines: dict[str, pd.DataFrame], longest: int, rows: pd.DataFrame) -> tuple[str, str]:
    n_tokens = pd.Series([line["n_tokens"].sum() for line in lines.values()])
    n_documents, n_seeds = (
        pd.Series([line[name].max() for line in lines.values()])
        for name in ("n_documents", "n_seeds")
    )
    details = (
        f"{wording.training(rows, n_seeds)} {wording.counted(n_documents, 'document')}, "
        f"{wording.counted(n_tokens, 'token')} scored. {wording.bands(n_seeds)}"
    )
    return layout.heading(f"Loss by position in a window of {longest:,} tokens", rows), details
