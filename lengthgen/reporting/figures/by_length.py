"""The figures by evaluation length: perplexity or loss, its paired change, and exact match.

A log2 axis of the measured lengths, one fixed style per scheme, its name beside the end of its
line, and a strip for lengths without a value, so that a refusal is seen. No torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lengthgen.reporting import tables
from lengthgen.reporting.figures import (
    change_panel,
    layout,
    length_axis,
    line_names,
    palette,
    value_axis,
    wording,
)
from lengthgen.reporting.figures.line_names import End
from lengthgen.reporting.figures.look import PAGE, Look
from lengthgen.reporting.figures.palette import Style
from lengthgen.reporting.figures.sheet import Sheet

WILSON = "Wilson's over documents, for that one seed"
TITLES = {"perplexity": "Perplexity", "loss": "Loss", "bits_per_byte": "Bits per byte"}


@dataclass(frozen=True)
class Lines:
    """Rows of one group and protocol by scheme and length: with a value, and without."""

    schemes: list[str]
    train_length: int
    lengths: list[int]
    scored: Mapping[str, pd.DataFrame]
    missing: Mapping[str, pd.DataFrame]
    reasons: Mapping[str, str]  # scheme -> in words, why it has no value where

    @classmethod
    def of(cls, rows: pd.DataFrame, has_value: pd.Series, look: Look) -> "Lines":
        schemes = sorted(rows["scheme"].unique(), key=palette.order)

        def by_scheme(part: pd.DataFrame) -> dict[str, pd.DataFrame]:
            groups = dict(list(part.sort_values("eval_length").groupby("scheme")))
            return {scheme: groups[scheme] for scheme in schemes if scheme in groups}

        lengths = sorted(int(length) for length in rows["eval_length"].unique())
        train_length = int(rows["train_length"].iloc[0])
        scored, missing = by_scheme(rows[has_value]), by_scheme(rows[~has_value])
        reasons = {
            scheme: length_axis.what_is_missing(look.name(scheme), part, lengths)
            for scheme, part in missing.items()
        }
        return cls(schemes, train_length, lengths, scored, missing, reasons)

    def ends(self, column: str, look: Look) -> dict[str, End]:
        """Of the schemes that have the longest length."""
        longest = self.lengths[-1]
        return {
            scheme: End(palette.style(scheme), longest, line[column].iloc[-1], look.name(scheme))
            for scheme, line in self.scored.items()
            if line["eval_length"].max() == longest
        }


def loss_by_length(rows: pd.DataFrame, remark: str = "", look: Look = PAGE) -> Sheet:
    """The look's metric by evaluation length; below it the paired change of the loss, if known.

    rows: tables.SUMMARY of one group and protocol. remark: the last sentence under the title.
    """
    lines = Lines.of(rows, rows["status"] == "ok", look)
    changes = bool(np.isfinite(rows["loss_change"].astype(float)).any()) and len(lines.lengths) > 1
    floor = floor_of(rows, look.metric)
    column = look.metric
    drawn = rows[column].to_numpy(np.float64)
    drawn = drawn if floor is None else np.append(drawn, floor)

    def scale(axes: Axes) -> None:
        value_axis.positive(axes, column, drawn)

    what = layout.heading(f"{TITLES[column]} by evaluation length", rows)
    title = what, wording.of_lengths(rows, changes, remark)
    return _draw(lines, column, title, scale, look, changes, floor)


def exact_match_by_length(rows: pd.DataFrame, look: Look = PAGE) -> Sheet:
    """The share of documents whose answer is entirely right. rows: as for `loss_by_length`."""
    lines = Lines.of(rows, rows["exact_match"].notna(), look)
    scored = rows[rows["exact_match"].notna()]
    details = (
        f"{wording.training(rows, scored['n_seeds'])} "
        f"{wording.counted(scored['n_documents'], 'document')} at each "
        f"length, each document one question. {wording.bands(scored['n_seeds'], WILSON)}"
    )

    def scale(axes: Axes) -> None:
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("exact match (share of documents)")

    title = layout.heading("Exact match by evaluation length", rows), details
    return _draw(lines, "exact_match", title, scale, look)


def _draw(
    lines: Lines,
    column: str,
    title: tuple[str, str],
    scale: Callable[[Axes], None],
    look: Look,
    changes: bool = False,
    floor: pd.Series | None = None,
) -> Sheet:
    """The panel of `column`, a strip for missing values, and the panel of changes.

    floor: of competence, by evaluation length.
    """
    off_scale = change_panel.off_scale(lines.scored, look) if changes else {}
    names = [look.name(scheme) for scheme in lines.schemes]
    beside = line_names.fit_beside([*names, *lines.reasons.values(), *off_scale.values()], look)
    heights = _heights(lines, changes, beside, look.narrow)
    sheet = Sheet(title, look)
    panels = sheet.panels(heights)
    top = panels[0]
    for scheme, line in lines.scored.items():
        value, low, high = _with_ends(line, column)
        layout.line(top, palette.style(scheme), line["eval_length"], value, low, high)
    if floor is not None:
        layout.floor(top, floor.index, floor, short=look.narrow)
    length_axis.draw(top, lines.lengths, lines.train_length)
    scale(top)  # before the names, whose places depend on it
    ends = lines.ends(column, look)
    if beside:
        line_names.beside(top, list(ends.values()), heights[0])
    if lines.reasons:
        length_axis.strip(
            panels[1], lines.missing, lines.reasons, lines.lengths, lines.train_length, beside
        )
    for panel in panels[:-1]:
        panel.tick_params(axis="x", labelbottom=False)
    panels[-1].set_xlabel(length_axis.label(look))
    length_axis.mark_training_length(top, lines.train_length)
    if changes:
        change_ends = lines.ends("loss_change", look) if beside else {}
        change_panel.draw(panels[-1], lines.scored, lines.lengths, lines.train_length)
        change_panel.name(panels[-1], change_ends, off_scale, heights[-1])
    if not beside:
        line_names.below(panels[-1], _entries(lines, column, look, off_scale))
    return sheet.fit()


def _heights(lines: Lines, changes: bool, beside: bool, narrow: bool) -> list[float]:
    """Inches of the panels: beside them, names need room."""
    top, below = (2.0, 1.4) if narrow else (3.2, 2.2)
    names = line_names.ROW * (len(lines.schemes) + 1) if beside else 0.0
    strip = line_names.ROW * 1.2 * len(lines.reasons)
    heights = [max(top, names), strip]
    heights.append(max(below, names) if changes else 0.0)
    return [height for height in heights if height]


def _entries(
    lines: Lines, column: str, look: Look, off_scale: Mapping[str, str]
) -> list[tuple[Style, str]]:
    """Of the legend: the lines from top to bottom, as they end; then what has no value."""
    scored = sorted(lines.scored, key=lambda scheme: -lines.scored[scheme][column].iloc[-1])
    entries = [(palette.style(name), off_scale.get(name) or look.name(name)) for name in scored]
    crosses = [
        (Style(palette.style(scheme).colour, "x", ()), reason)
        for scheme, reason in lines.reasons.items()
    ]
    return [*entries, *crosses]


def _with_ends(line: pd.DataFrame, column: str) -> list[np.ndarray]:
    """Mean and bounds; those of bits per byte are the loss's, in the same proportion."""
    if column == "bits_per_byte":
        of_loss = _with_ends(line, "loss")
        factor = line[column].to_numpy(np.float64) / of_loss[0]
        return [factor * values for values in of_loss]
    return [line[name].to_numpy(np.float64) for name in tables.ends(column)]


def floor_of(rows: pd.DataFrame, metric: str) -> pd.Series | None:
    """The bigram table's by evaluation length; None where it was not measured."""
    known = rows[rows["bigram"].notna()]
    if known.empty:
        return None
    mean = known.groupby("eval_length", sort=True)["bigram"].mean()
    if metric == "bits_per_byte":
        factor = known["bits_per_byte"].astype(float) / known["loss"].astype(float)
        return mean * factor.groupby(known["eval_length"], sort=True).mean()
    return np.exp(mean) if metric == "perplexity" else mean
