"""The two figures: perplexity against evaluation length, and loss against the position in a window. Matplotlib alone; no torch.

How they are to be read at a glance: a log2 axis with a tick at each measured length, a line at the training length, one fixed style a
scheme, its name beside the end of its line, and a strip below for lengths without a value, so that a refusal is seen and not missed.

Losses in nats/token. Layout and names: layout.py; lines' styles: palette.py.
"""

from collections.abc import Sequence

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

from lengthgen.reporting.figures import layout, length_axis, palette
from lengthgen.statistics import intervals
from lengthgen.statistics.thresholds import DELTA

WILSON = "Wilson's over documents, for that one seed"
PROTOCOLS = {
    "matched": "matched targets: the same tokens are scored at every length",
    "nonoverlapping": "non-overlapping windows: longer windows hold fewer tokens with little context, which alone lowers the curve",
    "sliding": "sliding window: the same tokens at every length, the first window's with little context, the others' with nearly all of it",
    "last_k": "the last targets of each window, none with little context: other tokens at every length, and fewer in longer windows",
    "hard_window": "matched targets, read through a hard window of the training length in every layer",
}


def loss_by_length(rows: pd.DataFrame, remark: str = "") -> Figure:
    """Perplexity against evaluation length, and below it (matched protocol) the paired change of the loss.

    rows: of one group and protocol, with the columns of tables.SUMMARY. A length without a value is a cross in a strip. remark: the
    last sentence under the title.
    """
    schemes = sorted(rows["scheme"].unique(), key=palette.order)
    train_length, lengths = (
        int(rows["train_length"].iloc[0]),
        sorted(int(length) for length in rows["eval_length"].unique()),
    )
    lines = {
        scheme: rows[(rows["scheme"] == scheme) & (rows["status"] == "ok")].sort_values(
            "eval_length"
        )
        for scheme in schemes
    }
    missing = {
        scheme: rows[(rows["scheme"] == scheme) & (rows["status"] != "ok")].sort_values(
            "eval_length"
        )
        for scheme in schemes
    }
    missing = {scheme: part for scheme, part in missing.items() if len(part)}
    gone = {
        scheme: length_axis.what_is_missing(scheme, part, lengths)
        for scheme, part in missing.items()
    }
    with_change = bool(np.isfinite(rows["loss_change"].astype(float)).any()) and len(lengths) > 1

    off = _off_scale if with_change else str
    named = layout.ROW * (len(schemes) + 1)  # the height that the names need
    heights = [max(3.2, named), layout.ROW * 1.2 * len(missing), max(2.2, named) * with_change]
    heights = [height for height in heights if height]
    figure, panels = layout.stack(
        heights, _length_title(rows, with_change, remark), [*map(off, schemes), *gone.values()]
    )
    ends = {
        scheme: line
        for scheme, line in lines.items()
        if len(line) and line["eval_length"].max() == lengths[-1]
    }

    top = panels[0]
    for scheme in schemes:
        layout.line(
            top,
            scheme,
            lines[scheme]["eval_length"],
            *(lines[scheme][f"perplexity{end}"] for end in ("", "_low", "_high")),
        )
    length_axis.draw(top, lengths, train_length)
    _perplexity_axis(top, rows["perplexity"].to_numpy(np.float64))
    layout.name_ends(
        top,
        {
            scheme: (lengths[-1], line["perplexity"].iloc[-1], scheme)
            for scheme, line in ends.items()
        },
    )
    if missing:
        length_axis.strip(panels[1], missing, gone, lengths, train_length)
    if with_change:
        _change_panel(panels[-1], lines, ends, lengths, train_length)
    for panel in panels[:-1]:
        panel.tick_params(axis="x", labelbottom=False)
    panels[-1].set_xlabel("evaluation length (tokens, and as a multiple of the training length)")
    length_axis.mark_training_length(top, train_length)
    return figure


def exact_match_by_length(rows: pd.DataFrame) -> Figure:
    """The share of documents whose answer is wholly right, against evaluation length. rows: as for `loss_by_length`."""
    schemes = sorted(rows["scheme"].unique(), key=palette.order)
    train_length, lengths = (
        int(rows["train_length"].iloc[0]),
        sorted(int(length) for length in rows["eval_length"].unique()),
    )
    scored = rows[rows["exact_match"].notna()].sort_values("eval_length")
    missing = {
        scheme: part
        for scheme, part in rows[rows["exact_match"].isna()]
        .sort_values("eval_length")
        .groupby("scheme")
    }
    gone = {
        scheme: length_axis.what_is_missing(scheme, missing[scheme], lengths)
        for scheme in schemes
        if scheme in missing
    }
    heights = [max(3.2, layout.ROW * (len(schemes) + 1)), layout.ROW * 1.2 * len(gone)]
    title = (
        _heading("Exact match by evaluation length", rows),
        " ".join(_scored_on(rows, scored, "each document one question")),
    )
    figure, panels = layout.stack(
        [height for height in heights if height], title, [*schemes, *gone.values()]
    )
    ends = {}
    for scheme, line in scored.groupby("scheme"):
        layout.line(
            panels[0],
            scheme,
            line["eval_length"],
            *(line[f"exact_match{end}"] for end in ("", "_low", "_high")),
        )
        if line["eval_length"].max() == lengths[-1]:
            ends[scheme] = (lengths[-1], line["exact_match"].iloc[-1], scheme)
    length_axis.draw(panels[0], lengths, train_length)
    panels[0].set_ylim(-0.03, 1.03)
    panels[0].set_ylabel("exact match (share of documents)")
    layout.name_ends(panels[0], ends)
    if gone:
        length_axis.strip(
            panels[1], {scheme: missing[scheme] for scheme in gone}, gone, lengths, train_length
        )
        panels[0].tick_params(axis="x", labelbottom=False)
    panels[-1].set_xlabel("evaluation length (tokens, and as a multiple of the training length)")
    length_axis.mark_training_length(panels[0], train_length)
    return figure


def loss_by_position(bins: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    """Mean loss against the position in a window of the longest length that each scheme processes.

    bins: of one group, as tables.positions_over_seeds gives them. rows: the same group's summary (for the title).
    """
    schemes = sorted(bins["scheme"].unique(), key=palette.order)
    train_length, longest = int(rows["train_length"].iloc[0]), int(bins["eval_length"].max())
    lines, names = {}, {}
    for scheme in schemes:
        own = bins[bins["scheme"] == scheme]
        own = own[np.isfinite(own["value"].astype(float))]
        if len(own):
            window = int(own["eval_length"].max())
            lines[scheme] = own[own["eval_length"] == window].sort_values("position")
            names[scheme] = scheme if window == longest else f"{scheme} (window of {window})"
    tall = max(3.6, layout.ROW * (len(lines) + 1))
    figure, (panel,) = layout.stack(
        [tall], _position_title(lines, longest, rows), list(names.values())
    )
    ends = {}
    for index, (scheme, line) in enumerate(lines.items()):
        middle = (line["position"] + line["position_end"]) / 2
        every = max(1, round(longest / 9 / (line["position_end"] - line["position"]).median()))
        marks = (index * every // len(lines), every)  # the schemes' markers take turns
        layout.line(panel, scheme, middle, line["value"], line["low"], line["high"], marks)
        ends[scheme] = (
            middle.iloc[-1],
            line["value"].iloc[-1] if names[scheme] == scheme else None,
            names[scheme],
        )
    panel.set_xlim(0, longest)
    step = (
        train_length / 2
        if longest <= 2 * train_length
        else train_length * max(1, round(longest / train_length / 8))
    )
    ticks = np.arange(0, longest + 1, step)
    panel.xaxis.set_major_locator(FixedLocator(ticks))
    panel.xaxis.set_major_formatter(
        FixedFormatter([f"{tick:,.0f}\n{tick / train_length:g}×" for tick in ticks])
    )
    panel.yaxis.set_major_locator(MaxNLocator(7))
    panel.set_ylabel("loss (nats/token)")
    panel.set_xlabel("position in the window (tokens, and as a multiple of the training length)")
    layout.name_ends(panel, ends)
    length_axis.mark_training_length(panel, train_length)
    return figure


def _length_title(rows: pd.DataFrame, with_change: bool, remark: str) -> tuple[str, str]:
    """(heading, details): everything that a reader needs to know which experiment this is and how to read it."""
    scored = rows[rows["status"] == "ok"]
    protocol = rows["protocol"].iloc[0]
    details = [
        f"{int(rows['steps'].iloc[0]):,} training steps; {_range(scored['n_seeds'], 'seed')} per scheme;",
        f"{_range(scored['n_documents'], 'document')}, {_range(scored['n_tokens'], 'token')} scored at each length.",
        f"{PROTOCOLS.get(protocol, protocol).capitalize()}.",
        f"Bands: 95 % intervals, {intervals.words(scored['n_seeds'])}."
        if rows["loss_low"].notna().any()
        else "No bands: an interval needs two documents.",
    ]
    if with_change:
        details.append(
            f"Lower panel: below 0 the longer input helps; grey: within {DELTA} nats, 1 % of perplexity."
        )
    return _heading("Perplexity by evaluation length", rows), " ".join([*details, remark]).rstrip()


def _scored_on(rows: pd.DataFrame, scored: pd.DataFrame, what: str) -> list[str]:
    return [
        f"{int(rows['steps'].iloc[0]):,} training steps; {_range(scored['n_seeds'], 'seed')} per scheme;",
        f"{_range(scored['n_documents'], 'document')} at each length, {what}.",
        f"Bands: 95 % intervals, {intervals.words(scored['n_seeds']).replace(intervals.ONE, WILSON)}.",
    ]


def _position_title(
    lines: dict[str, pd.DataFrame], longest: int, rows: pd.DataFrame
) -> tuple[str, str]:
    n_tokens = pd.Series([line["n_tokens"].sum() for line in lines.values()])
    n_documents, n_seeds = (
        pd.Series([line[name].max() for line in lines.values()])
        for name in ("n_documents", "n_seeds")
    )
    details = [
        f"{int(rows['steps'].iloc[0]):,} training steps; {_range(n_seeds, 'seed')} per scheme;",
        f"{_range(n_documents, 'document')}, {_range(n_tokens, 'token')} scored.",
        f"Bands: 95 % intervals, {intervals.words(n_seeds)}.",
    ]
    return _heading(f"Loss by position in a window of {longest:,} tokens", rows), " ".join(details)


def _heading(what: str, rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{what}: {first['dataset']}, {first['model']} model, trained at {int(first['train_length']):,} tokens"


def _range(counts: pd.Series, noun: str) -> str:
    low, high = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    return (
        f"{low:,}"
        + (f" to {high:,}" if high > low else "")
        + f" {noun}"
        + ("" if high == 1 else "s")
    )


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
    axes.yaxis.set_major_locator(
        LogLocator(
            subs=(1, 1.5, 2, 3, 4, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2.5 else (1,)
        )
    )
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}")
    )
    axes.yaxis.set_minor_locator(NullLocator())


def _change_panel(
    axes: Axes, lines: dict, ends: dict, lengths: Sequence[int], train_length: int
) -> None:
    """The paired change of the loss, scaled to the schemes that change little; the others leave the panel and are named there."""
    limit = _near_limit(lines)
    labels = {}
    low, high = -1.5 * DELTA, 1.5 * DELTA
    for scheme, line in lines.items():
        bounds = line[["loss_change", "loss_change_low", "loss_change_high"]].to_numpy(np.float64)
        if not np.isfinite(bounds[:, 0]).any():
            continue
        layout.line(axes, scheme, line["eval_length"], *bounds.T)
        last = bounds[-1, 0]
        off = np.nanmax(np.abs(bounds)) > limit
        low, high = (
            (low, high) if off else (min(low, np.nanmin(bounds)), max(high, np.nanmax(bounds)))
        )
        if scheme in ends:
            labels[scheme] = (lengths[-1], last, scheme)
    length_axis.draw(axes, lengths, train_length)
    pad = 0.06 * (high - low)
    axes.set_ylim(low - pad, high + pad)
    for scheme, (x, y, _) in labels.items():
        if not low - pad <= y <= high + pad:
            labels[scheme] = (x, y, _off_scale(scheme, y))
    axes.axhspan(-DELTA, DELTA, color="#eeeeee", linewidth=0, zorder=0)
    axes.axhline(0, color=layout.GREY, linewidth=0.8, zorder=1)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(
        FuncFormatter(
            lambda value, _: "0" if abs(value) < 1e-9 else f"{value:+.3g}".replace("-", "−")
        )
    )
    axes.set_ylabel(f"loss minus loss at {train_length:,}\n(nats/token, paired)")
    layout.name_ends(axes, labels)


def _off_scale(scheme: str, change: float = 10.0) -> str:
    return f"{scheme} {'↑' if change > 0 else '↓'} {change:+.2f}".replace("-", "−")


def _near_limit(lines: dict) -> float:
    """The largest change (nats) that the panel must hold: grows over the schemes while each is at most 4 times the one before."""
    sizes = []
    for line in lines.values():
        bounds = np.abs(
            line[["loss_change", "loss_change_low", "loss_change_high"]].to_numpy(np.float64)
        )
        if np.isfinite(bounds).any():
            sizes.append(float(np.nanmax(bounds)))
    limit = min(sizes, default=0.0)
    for size in sorted(sizes):
        if size > max(0.1, 4 * limit):
            break
        limit = size
    return limit
