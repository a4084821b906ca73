"""What several seeds of a line say together: the rows of a summary, and the bins by position."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lengthgen.reporting.table_files import GROUP, LINE, SUMMARY, as_rows, ends, sort, with_types
from lengthgen.statistics import intervals
from lengthgen.statistics.losses import Losses, Means


def summarise(documents: pd.DataFrame, lengths: pd.DataFrame) -> pd.DataFrame:
    """SUMMARY of each line and eval_length, over seeds.

    Intervals: statistics/losses.py. A length without a value of any seed is a row with its status
    and reason; one where some seeds have none is estimated from the others and says so. A loss that
    is not finite (or a leak) of any seed leaves no value: a mean over the seeds that survived would
    flatter the scheme.
    """
    stated: dict[tuple, dict[int, list[dict]]] = {}  # line -> eval_length -> a row of each seed
    for row in as_rows(lengths[lengths["metric"] == "loss"]):
        of_line = stated.setdefault(tuple(row[column] for column in LINE), {})
        of_line.setdefault(row["eval_length"], []).append(row)
    scored = dict(list(documents.groupby(list(LINE), sort=False)))
    matches, rows = _matches(lengths), []
    for line, at_length in stated.items():
        named = dict(zip(LINE, line, strict=True))
        numbers = _line_numbers(scored[line], named) if line in scored else {}
        for eval_length, of_seeds in at_length.items():
            status, reason = _status(of_seeds)
            row = dict.fromkeys(SUMMARY) | named
            row |= {"eval_length": eval_length, "n_seeds": 0, "n_documents": 0, "n_tokens": 0}
            if status == "ok":
                row |= numbers.get(eval_length, {}) | matches.get((*line, eval_length), {})
            dtype = "+".join(sorted({each["dtype"] for each in of_seeds}))
            rows.append(row | {"dtype": dtype, "status": status, "reason": reason})
    return sort(pd.DataFrame(rows, columns=list(SUMMARY)).pipe(with_types))


def positions_over_seeds(positions: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of each bin of positions.csv, with the bounds of intervals.of_bins."""
    keys = [*GROUP, "scheme", "eval_length", "position", "position_end"]
    return sort(_over_seeds(positions, keys).reset_index())


def _over_seeds(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Indexed by the keys."""
    widths = table.assign(square=(table["high"] - table["low"]) ** 2)
    means = widths.groupby(keys, sort=False).agg(
        value=("value", "mean"),
        low=("low", "mean"),
        high=("high", "mean"),
        n_seeds=("run", "nunique"),
        n_documents=("n_documents", "max"),
        n_tokens=("n_tokens", "max"),
        between=("value", "var"),
        square=("square", "mean"),
    )
    several = means["n_seeds"] > 1
    if several.any():
        columns = means[several].assign(width=np.sqrt(means["square"]))
        columns = columns[["value", "between", "width", "n_seeds", "n_documents"]]
        means.loc[several, ["low", "high"]] = intervals.of_bins(*columns.to_numpy(np.float64).T).T
    return means.drop(columns=["between", "square"])


def _matches(lengths: pd.DataFrame) -> dict[tuple, dict[str, float]]:
    """(*line, eval_length) -> exact match over seeds and its interval, where rows have it."""
    rows = lengths[(lengths["metric"] == "exact_match") & lengths["value"].notna()]
    if rows.empty:
        return {}
    keys = [*LINE, "eval_length"]
    # Wilson's interval leans inwards, a mean's does not: of several seeds its longer side is taken.
    side = np.maximum(rows["value"] - rows["low"], rows["high"] - rows["value"])
    means = _over_seeds(rows.assign(low=rows["value"] - side, high=rows["value"] + side), keys)
    wilson = rows.groupby(keys, sort=False)[["low", "high"]].mean()
    bounds = means[["low", "high"]].where(means["n_seeds"] > 1, wilson).clip(0.0, 1.0)
    columns = zip(means["value"], bounds["low"], bounds["high"], strict=True)
    names = ends("exact_match")
    return {
        key: dict(zip(names, values, strict=True))
        for key, values in zip(means.index, columns, strict=True)
    }


def _line_numbers(rows: pd.DataFrame, line: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """eval_length -> the numbers of a summary row."""
    losses, train_length = Losses.of_rows(rows), line["train_length"]
    loss = losses.means()
    with np.errstate(over="ignore"):  # a loss beyond 709 nats: its perplexity is infinite
        perplexity = Means(*(np.exp(values) for values in (loss.value, loss.low, loss.high)))
    columns = _columns("loss", loss) | _columns("perplexity", perplexity)
    columns["bits_per_byte"] = losses.bits_per_byte()
    if line["protocol"] == "matched" and train_length in losses.lengths:
        columns |= _columns("loss_change", losses.changes(train_length))
    if losses.floor_sum is not None:
        columns |= _columns("excess", losses.excess().means())
    table, below = losses.bigram(), losses.below_bigram()
    if table is not None and below is not None:
        columns["bigram"] = table.means().value
        columns |= _columns("below_bigram", below.means())
    numbers = {}
    for a, eval_length in enumerate(losses.lengths):
        n_tokens = losses.n_tokens[:, a]  # (S, D)
        numbers[eval_length] = {
            "n_seeds": int((n_tokens > 0).any(axis=1).sum()),
            "n_documents": int((n_tokens > 0).any(axis=0).sum()),
            "n_tokens": int(n_tokens.sum(axis=1).max()),
        } | {name: values[a] for name, values in columns.items()}
    return numbers


def _columns(name: str, means: Means) -> dict[str, np.ndarray]:
    return dict(zip(ends(name), (means.value, means.low, means.high), strict=True))


def _status(of_seeds: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """(status, reason) of one line at one length."""
    failed = [row for row in of_seeds if row["status"] != "ok"]
    if not failed:  # what they say is a warning
        return "ok", "; ".join(dict.fromkeys(row["reason"] for row in of_seeds if row["reason"]))
    reasons = "; ".join(dict.fromkeys(row["reason"] for row in failed))
    wrong = [row["status"] for row in failed if row["status"] in ("nonfinite", "leak")]
    if len(failed) == len(of_seeds):
        return (wrong or [failed[0]["status"]])[0], reasons
    seeds = ", ".join(str(seed) for seed in sorted(row["seed"] for row in failed))
    return (wrong or ["ok"])[0], f"seed {seeds}: {reasons}"
