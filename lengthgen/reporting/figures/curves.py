"""The figures by evaluation length and by position in a window. Matplotlib alone, no torch.

A log2 axis of the measured lengths, one fixed style per scheme, its name beside the end of its
line, and a strip for lengths without a value, so that a refusal is seen. Losses in nats/token.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
)

from lengthgen.reporting import tables, text_tables
from lengthgen.reporting.figures import layout, length_axis, palette
from lengthgen.statistics import intervals
from lengthgen.statistics.thresholds import DELTA

WILSON = "Wilson's over documents, for that one seed"
PROTOCOLS = {
    "matched": "Matched targets: the same tokens are scored at every length",
    "nonoverlapping": "Non-overlapping windows: in longer windows fewer tokens have little "
    "context, which alone lowers the curve",
    "sliding": "Sliding window: the same tokens at every length; those of the first window have "
    "little context, the others nearly the whole window",
    "last_k": "The last targets of each window, all with long context: other tokens at every "
    "length, and fewer in longer windows",
    "hard_window": "Matched targets, read through a hard window of the training length in every "
    "layer",
}


@dataclass(frozen=True)
class Lines:
    """Rows of one group and protocol by scheme and length: with a value, and without."""

    schemes: list[str]
    train_length: int
    lengths: list[int]
    scored: Mapping[str, pd.DataFrame]
    missing: Mapping[str, pd.DataFrame]

    @classmethod
    def of(cls, rows: pd.DataFrame, has_value: pd.Series) -> "Lines":
        schemes = sorted(rows["scheme"].unique(), key=palette.order)

        def by_scheme(part: pd.DataFrame) -> dict[str, pd.DataFrame]:
            groups = dict(list(part.sort_values("eval_length").groupby("scheme")))
            return {scheme: groups[scheme] for scheme in schemes if scheme in groups}

        lengths = sorted(int(length) for length in rows["eval_length"].unique())
        train_length = int(rows["train_length"].iloc[0])
        scored, missing = by_scheme(rows[has_value]), by_scheme(rows[~has_value])
        return cls(schemes, train_length, lengths, scored, missing)

    def ends(self, column: str) -> dict[str, tuple[float, float, str]]:
        """What layout.name_ends takes, of the schemes that have the longest length."""
        longest = self.lengths[-1]
        return {
            scheme: (longest, line[column].iloc[-1], scheme)
            for scheme, line in self.scored.items()
            if line["eval_length"].max() == longest
        }


def loss_by_length(rows: pd.DataFrame, remark: str = "") -> Figure:
    """Perplexity by evaluation length, and below it the paired change of the loss, if there is one.

    rows: tables.SUMMARY of one group and protocol. remark: the last sentence under the title.
    """
    lines = Lines.of(rows, rows["status"] == "ok")
    changes = bool(np.isfinite(rows["loss_change"].astype(float)).any()) and len(lines.lengths) > 1
    below = max(2.2, layout.ROW * (len(lines.schemes) + 1)) if changes else 0.0
    # A scheme that leaves the lower panel is named there with its change, which needs more room.
    names = [_off_scale(scheme) if changes else scheme for scheme in lines.schemes]
    floor = _floor(rows)
    perplexity = rows["perplexity"].to_numpy(np.float64)
    perplexity = perplexity if floor is None else np.append(perplexity, floor)
    figure, panels = _panels(
        lines,
        "perplexity",
        _length_title(rows, changes, remark),
        names,
        lambda axes: _perplexity_axis(axes, perplexity),
        below,
        floor,
    )
    if changes:
        _change_panel(panels[-1], lines)
    return figure


def exact_match_by_length(rows: pd.DataFrame) -> Figure:
    """The share of documents whose answer is entirely right. rows: as for `loss_by_length`."""
    lines = Lines.of(rows, rows["exact_match"].notna())
    scored = rows[rows["exact_match"].notna()]
    details = (
        f"{_training(rows, scored['n_seeds'])} {_range(scored['n_documents'], 'document')} at each "
        f"length, each document one question. {_bands(scored['n_seeds'], WILSON)}"
    )

    def scale(axes: Axes) -> None:
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("exact match (share of documents)")

    title = layout.heading("Exact match by evaluation length", rows), details
    return _panels(lines, "exact_match", title, lines.schemes, scale)[0]


def _panels(
    lines: Lines,
    column: str,
    title: tuple[str, str],
    names: Sequence[str],
    scale: Callable[[Axes], None],
    below: float = 0.0,
    floor: pd.Series | None = None,
) -> tuple[Figure, list[Axes]]:
    """The panel of `column`, a strip for missing values, and an empty panel `below` inches high.

    floor: of competence, by evaluation length.
    """
    reasons = {
        scheme: length_axis.what_is_missing(scheme, part, lines.lengths)
        for scheme, part in lines.missing.items()
    }
    named = layout.ROW * (len(lines.schemes) + 1)  # the height that the names need
    heights = [max(3.2, named), layout.ROW * 1.2 * len(reasons), below]
    figure, panels = layout.stack(
        [height for height in heights if height], title, [*names, *reasons.values()]
    )
    top = panels[0]
    for scheme, line in lines.scored.items():
        value, low, high = (line[name] for name in tables.ends(column))
        layout.line(top, scheme, line["eval_length"], value, low, high)
    if floor is not None:
        layout.floor(top, floor.index, floor)
    length_axis.draw(top, lines.lengths, lines.train_length)
    scale(top)  # before the names, whose places depend on it
    layout.name_ends(top, lines.ends(column))
    if reasons:
        length_axis.strip(panels[1], lines.missing, reasons, lines.lengths, lines.train_length)
    for panel in panels[:-1]:
        panel.tick_params(axis="x", labelbottom=False)
    panels[-1].set_xlabel(length_axis.LABEL)
    length_axis.mark_training_length(top, lines.train_length)
    return figure, panels


def loss_by_position(bins: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    """Mean loss by position in a window of the longest length that each scheme can read.

    bins: of one group, as tables.positions_over_seeds gives them. rows: the same group's summary.
    """
    train_length, longest = int(rows["train_length"].iloc[0]), int(bins["eval_length"].max())
    finite = bins[np.isfinite(bins["value"].astype(float))]
    lines, names = {}, {}
    for scheme in sorted(finite["scheme"].unique(), key=palette.order):
        of_scheme = finite[finite["scheme"] == scheme]
        window = int(of_scheme["eval_length"].max())
        lines[scheme] = of_scheme[of_scheme["eval_length"] == window].sort_values("position")
        names[scheme] = scheme if window == longest else f"{scheme} (window of {window})"
    height = max(3.6, layout.ROW * (len(lines) + 1))
    title = _position_title(lines, longest, rows)
    figure, (panel,) = layout.stack([height], title, list(names.values()))
    ends = {}
    for index, (scheme, line) in enumerate(lines.items()):
        middle = (line["position"] + line["position_end"]) / 2
        every = max(1, round(longest / 9 / (line["position_end"] - line["position"]).median()))
        marks = (index * every // len(lines), every)  # the schemes' markers take turns
        layout.line(panel, scheme, middle, line["value"], line["low"], line["high"], marks)
        y = line["value"].iloc[-1] if names[scheme] == scheme else None
        ends[scheme] = (middle.iloc[-1], y, names[scheme])
    floor = _floor(rows[rows["protocol"] == "matched"])
    if floor is not None:
        layout.floor(panel, [0, longest], [float(np.log(floor.iloc[-1]))] * 2)
    panel.set_xlim(0, longest)
    multiples = longest / train_length
    ticks = np.arange(
        0, longest + 1, train_length * (0.5 if multiples <= 2 else max(1, round(multiples / 8)))
    )
    texts = [f"{tick:,.0f}\n{tick / train_length:g}×" for tick in ticks]
    panel.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    panel.xaxis.set_major_formatter(FixedFormatter(texts))
    panel.yaxis.set_major_locator(MaxNLocator(7))
    panel.set_ylabel("loss (nats/token)")
    panel.set_xlabel("position in the window (tokens, and as a multiple of the training length)")
    layout.name_ends(panel, ends)
    length_axis.mark_training_length(panel, train_length)
    return figure


def _floor(rows: pd.DataFrame) -> pd.Series | None:
    """The perplexity of the bigram table by evaluation length; None where it was not measured."""
    known = rows[rows["bigram"].notna()]
    if known.empty:
        return None
    return np.exp(known.groupby("eval_length", sort=True)["bigram"].mean())


def _length_title(rows: pd.DataFrame, with_change: bool, remark: str) -> tuple[str, str]:
    """(heading, details)"""
    scored = rows[rows["status"] == "ok"]
    protocol = rows["protocol"].iloc[0]
    details = [
        _training(rows, scored["n_seeds"]),
        f"{_range(scored['n_documents'], 'document')},",
        f"{_range(scored['n_tokens'], 'token')} scored at each length.",
        f"{PROTOCOLS.get(protocol, protocol.capitalize())}.",
        _bands(scored["n_seeds"])
        if rows["loss_low"].notna().any()
        else "No bands: an interval needs two documents.",
    ]
    if with_change:
        details.append(
            "Lower panel: below 0 the longer input helps; "
            f"grey: within {DELTA} nats, 1 % of perplexity."
        )
    return layout.heading("Perplexity by evaluation length", rows), " ".join(
        [*details, remark]
    ).rstrip()


def _position_title(
    lines: dict[str, pd.DataFrame], longest: int, rows: pd.DataFrame
) -> tuple[str, str]:
    n_tokens = pd.Series([line["n_tokens"].sum() for line in lines.values()])
    n_documents, n_seeds = (
        pd.Series([line[name].max() for line in lines.values()])
        for name in ("n_documents", "n_seeds")
    )
    details = (
        f"{_training(rows, n_seeds)} {_range(n_documents, 'document')}, "
        f"{_range(n_tokens, 'token')} scored. {_bands(n_seeds)}"
    )
    return layout.heading(f"Loss by position in a window of {longest:,} tokens", rows), details


def _bands(n_seeds: pd.Series, of_one_seed: str = intervals.ONE) -> str:
    words = intervals.words(n_seeds.to_numpy())
    return f"Bands: 95 % intervals, {words.replace(intervals.ONE, of_one_seed)}."


def _training(rows: pd.DataFrame, n_seeds: pd.Series) -> str:
    steps = int(rows["steps"].iloc[0])
    if not steps:
        return "Pretrained;"
    return f"{steps:,} training steps; {_range(n_seeds, 'seed')} per scheme;"


def _range(counts: pd.Series, noun: str) -> str:
    return f"{text_tables.span(counts)} {noun}{'' if counts.max() == 1 else 's'}"


def _perplexity_axis(axes: Axes, drawn: np.ndarray) -> None:
    """Logarithmic when the largest value is more than 2.5 times the smallest."""
    drawn = drawn[np.isfinite(drawn)]
    logarithmic = drawn.size > 0 and drawn.max() > 2.5 * drawn.min()
    axes.set_ylabel("perplexity" + (" (log scale)" if logarithmic else ""))
    if not logarithmic:
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        return
    axes.set_yscale("log")
    decades = np.log10(drawn.max() / drawn.min())
    subs = (1, 1.5, 2, 3, 4, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2.5 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}")
    )
    axes.yaxis.set_minor_locator(NullLocator())


def _change_panel(axes: Axes, lines: Lines) -> None:
    """The paired change of the loss, scaled to the schemes that change little.

    The other lines leave the panel, and their names give the change at the longest length.
    """
    bounds = {
        scheme: line[[*tables.ends("loss_change")]].to_numpy(np.float64)
        for scheme, line in lines.scored.items()
    }
    bounds = {
        scheme: values for scheme, values in bounds.items() if np.isfinite(values[:, 0]).any()
    }
    sizes = {scheme: float(np.nanmax(np.abs(values))) for scheme, values in bounds.items()}
    limit = _near_limit(list(sizes.values()))
    low, high = -1.5 * DELTA, 1.5 * DELTA
    for scheme, values in bounds.items():
        layout.line(axes, scheme, lines.scored[scheme]["eval_length"], *values.T)
        if sizes[scheme] <= limit:
            low, high = min(low, np.nanmin(values)), max(high, np.nanmax(values))
    length_axis.draw(axes, lines.lengths, lines.train_length)
    pad = 0.06 * (high - low)
    axes.set_ylim(low - pad, high + pad)
    axes.axhspan(-DELTA, DELTA, color="#eeeeee", linewidth=0, zorder=0)
    axes.axhline(0, color=layout.GREY, linewidth=0.8, zorder=1)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda y, _: "0" if abs(y) < 1e-9 else f"{y:+.3g}".replace("-", "−"))
    )
    axes.set_ylabel(f"loss minus loss at {lines.train_length:,}\n(nats/token, paired)")
    labels = {
        scheme: (x, y, scheme if low - pad <= y <= high + pad else _off_scale(scheme, y))
        for scheme, (x, y, _) in lines.ends("loss_change").items()
        if scheme in bounds
    }
    layout.name_ends(axes, labels)


def _off_scale(scheme: str, change: float = 10.0) -> str:
    return f"{scheme} {'↑' if change > 0 else '↓'} {change:+.2f}".replace("-", "−")


def _near_limit(sizes: Sequence[float]) -> float:
    """The largest change (nats) in the panel: each is at most 4 times the one before."""
    limit = min(sizes, default=0.0)
    for size in sorted(sizes):
        if size > max(0.1, 4 * limit):
            break
        limit = size
    return limit
