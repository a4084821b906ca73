"""The sentences under the titles of the curves: training, documents, tokens, intervals."""

import pandas as pd

from lengthgen.reporting import text_tables
from lengthgen.statistics import intervals
from lengthgen.statistics.thresholds import DELTA

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


def of_lengths(rows: pd.DataFrame, with_change: bool, remark: str) -> str:
    """What a figure by evaluation length shows. remark: its last sentence."""
    scored = rows[rows["status"] == "ok"]
    protocol = rows["protocol"].iloc[0]
    details = [
        training(rows, scored["n_seeds"]),
        f"{counted(scored['n_documents'], 'document')},",
        f"{counted(scored['n_tokens'], 'token')} scored at each length.",
        f"{PROTOCOLS.get(protocol, protocol.capitalize())}.",
        bands(scored["n_seeds"])
        if rows["loss_low"].notna().any()
        else "No bands: an interval needs two documents.",
    ]
    if with_change:
        details.append(
            "Lower panel: below 0 the longer input helps; "
            f"grey: within {DELTA} nats, 1 % of perplexity."
        )
    return " ".join([*details, remark]).rstrip()


def bands(n_seeds: pd.Series, of_one_seed: str = intervals.ONE) -> str:
    words = intervals.words(n_seeds.to_numpy())
    return f"Bands: 95 % intervals, {words.replace(intervals.ONE, of_one_seed)}."


def training(rows: pd.DataFrame, n_seeds: pd.Series) -> str:
    steps = int(rows["steps"].iloc[0])
    if not steps:
        return "Pretrained;"
    return f"{steps:,} training steps; {counted(n_seeds, 'seed')} per scheme;"


def counted(counts: pd.Series, noun: str) -> str:
    return f"{text_tables.span(counts)} {noun}{'' if counts.max() == 1 else 's'}"
