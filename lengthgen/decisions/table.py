"""The table that a person decides with, who beats whom in it, and one sentence of recommendation.

A beats B at a length if A's loss is surely lower, and A is neither surely slower, in prefill or in
decoding, nor has to keep more. Surely: the 95 % interval of the paired difference of losses over
documents; the least of one's ratios in the rounds above the most of the other's. What is within the
noise beats nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lengthgen.decisions.costs import Cost, Timed
from lengthgen.decisions.subjects import MATCHED, training
from lengthgen.errors import DataError
from lengthgen.studies import words_table
from lengthgen.studies.losses import Material
from lengthgen.studies.measured import Mean

COLUMNS = (
    "subject", "eval_length", "loss", "loss_low", "loss_high", "change", "change_low",
    "change_high", "word", "training", "prefill_ms", "token_ms", "weights_mib", "cache_mib",
    "within_budget", "beaten_by", "no_decoding",
)  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """None: no bound."""

    token_ms: float | None = None  # of one decoded token
    memory_mib: float | None = None  # weights and cache

    def holds(self, cost: Cost) -> bool:
        if self.token_ms is not None and (
            cost.token is None or cost.token.milliseconds > self.token_ms
        ):
            return False
        needed = cost.weights_mib + (cost.cache_mib or 0)
        return self.memory_mib is None or (cost.cache_mib is not None and needed <= self.memory_mib)

    def __str__(self) -> str:
        parts = []
        if self.token_ms is not None:
            parts.append(f"{self.token_ms:g} ms a token")
        if self.memory_mib is not None:
            parts.append(f"{self.memory_mib:g} MiB")
        return " and ".join(parts) or "none"


def rows(material: Material, costs: Mapping[int, Mapping[str, Cost]], budget: Budget) -> list[Row]:
    """COLUMNS of every subject at every length that was measured."""
    words = {(row["subject"], row["eval_length"]): row for row in words_table.rows(material)}
    found = []
    for length, of_subject in costs.items():
        losses = {}
        for name, subject in material.subjects.items():
            try:
                losses[name] = subject.total(MATCHED, length)
            except DataError:
                continue
        for name, loss in losses.items():
            cost, word = of_subject[name], words.get((name, length), {})
            value, low, high = Mean(loss).bounds
            beaten = [
                other
                for other in losses
                if other != name
                and _surely_lower(losses[other], loss)
                and _no_dearer(of_subject[other], cost)
            ]
            found.append(
                {
                    "subject": name,
                    "eval_length": length,
                    "loss": value,
                    "loss_low": low,
                    "loss_high": high,
                    "change": word.get("change"),
                    "change_low": word.get("low"),
                    "change_high": word.get("high"),
                    "word": word.get("word", ""),
                    "training": training(material.subjects[name].evaluations[0]),
                    "prefill_ms": cost.prefill.milliseconds,
                    "token_ms": cost.token.milliseconds if cost.token else None,
                    "weights_mib": cost.weights_mib,
                    "cache_mib": cost.cache_mib,
                    "within_budget": budget.holds(cost),
                    "beaten_by": "; ".join(beaten),
                    "no_decoding": cost.reason,
                }
            )
    return found


def recommendation(material: Material, table: list[Row], budget: Budget) -> str:
    """One sentence about the longest length, with its reason."""
    length = max(row["eval_length"] for row in table)
    here = [row for row in table if row["eval_length"] == length]
    allowed = [row for row in here if row["within_budget"]]
    if not allowed:
        return (
            f"At {length:,} tokens nothing that was evaluated holds the budget ({budget}); "
            "evaluate a window with sinks (+retrofit=streaming_llm), or read less."
        )
    best = min(allowed, key=lambda row: row["loss"])
    losses = {row["subject"]: material[row["subject"]].total(MATCHED, length) for row in allowed}
    tied = [
        row for row in allowed if not _surely_lower(losses[best["subject"]], losses[row["subject"]])
    ]
    # The plain model comes first in the table: among equals nothing is added to it.
    plain = next(iter(material.subjects))
    chosen = next((row for row in tied if row["subject"] == plain), None) or min(
        tied, key=lambda row: row["token_ms"] or row["prefill_ms"]
    )
    others = [row["subject"] for row in tied if row is not chosen]
    if not others:
        reason = "its loss is surely lower than that of everything else within the budget"
    elif chosen["subject"] == plain:
        reason = f"no change to the model surely lowers its loss (nearest: {', '.join(others[:3])})"
    else:
        reason = f"the fastest of those with the lowest loss (the others: {', '.join(others[:3])})"
    held = "" if chosen["word"] != "fails" else " It still fails there: read fewer tokens."
    loss = f"{chosen['loss']:.3f} [{chosen['loss_low']:.3f}, {chosen['loss_high']:.3f}]"
    word = f", {chosen['word']}" if chosen["word"] else ""
    return f"At {length:,} tokens: {chosen['subject']}, {loss} nats/token{word}; {reason}.{held}"


def _surely_lower(one: Any, other: Any) -> bool:
    return bool(Mean(one.minus(other)).bounds[2] < 0)


def _no_dearer(one: Cost, other: Cost) -> bool:
    return (
        not _surely_slower(one.prefill, other.prefill)
        and not _surely_slower(one.token, other.token)
        and (one.cache_mib or 0) <= (other.cache_mib or 0)
    )


def _surely_slower(one: Timed | None, other: Timed | None) -> bool:
    if one is None or other is None:
        return one is None and other is not None
    return min(one.of_first) > max(other.of_first)
