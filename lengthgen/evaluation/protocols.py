"""What an evaluation is to measure: its settings, its lengths, and which documents at which places. No model, no torch: plans only.

What each protocol reads and scores there: planners.py.

Where the ends lie decides what an evaluation costs. Windows that start at the same token need one pass of a prefix-consistent scheme
(scoring.py), so ends are a training length L apart: lengths are mostly simple multiples of L, and the windows of one end then start where
shorter ones of the next do (1.5 L with 0.5 L, 2 L with L, 4 L with 3 L). Non-overlapping windows are cut from the first end, so that
the last one at every length is a matched window. At the default lengths an evaluation takes 0.38 of the FLOPs of separate passes (0.60
with ends a block apart and non-overlapping windows from the document's beginning; odd lengths such as 513 and 520 merge less).
A model trained at another length scores the same tokens when it is given the same `block_spacing` and `block` (references.py).
Only differences between starts matter for this, so a document's first end is free: it is a stable function of the document's name, spread
over the document. Were it the longest length itself, all targets would be from the beginnings of documents (licences, imports, front
matter), and windows of the longest length, alone of all, would begin with the token that begins a document.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lengthgen.config import dataclass_from
from lengthgen.errors import ConfigError, DataError
from lengthgen.evaluation.planners import PLANNERS, Amounts, Request, Span

EVALUATION_VERSION = 2  # raised when other tokens are scored or numbers change: trained weights stay valid, their evaluations do not
DEFAULT_FACTORS = [0.5, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0]
OWN = {
    "stride": "sliding",
    "last_k": "last_k",
}  # settings of one protocol alone: without it they decide no number


@dataclass
class EvaluationConfig:
    factors: list[float] = field(
        default_factory=lambda: list(DEFAULT_FACTORS)
    )  # evaluation lengths as multiples of train_length
    lengths: list[int] | None = None  # evaluation lengths in tokens; given, they replace `factors`
    protocols: list[str] = field(
        default_factory=lambda: ["matched", "nonoverlapping", "position"]
    )  # what to score; matched is the primary one
    documents: int = (
        48  # at most so many validation documents, chosen by a stable hash of their names
    )
    blocks: int = (
        2  # target blocks a document (matched, position); fewer in a document that is too short
    )
    block_spacing: int | None = (
        None  # tokens between the ends of a document's target blocks; null = train_length
    )
    block: int | None = None  # target tokens a block; null = train_length / 4
    stride: int | None = (
        None  # sliding: tokens that a window moves on by, and targets of all but the first; null = train_length / 4
    )
    last_k: int | None = None  # last_k: targets of each window; null = train_length / 4
    tokens_per_batch: int = 8192  # tokens in one forward pass; memory, not results
    resamples: int = 2000  # bootstrap resamples of documents

    def __post_init__(self):
        known = tuple(PLANNERS)
        for name in self.protocols:
            dataclass_from.choice("evaluation.protocols", name, known)
        dataclass_from.check(
            bool(self.protocols),
            f"evaluation.protocols=[]: expected at least one of {', '.join(known)}",
        )
        for name in ("documents", "blocks", "tokens_per_batch", "resamples"):
            dataclass_from.check(
                getattr(self, name) > 0,
                f"evaluation.{name}={getattr(self, name)}: expected a positive integer",
            )
        for name in ("block_spacing", "block", "stride", "last_k"):
            value = getattr(self, name)
            dataclass_from.check(
                value is None or value > 0,
                f"evaluation.{name}={value}: expected a positive integer or null",
            )
        dataclass_from.check(
            all(f > 0 for f in self.factors),
            f"evaluation.factors={self.factors}: expected positive numbers",
        )


def deciding(config: EvaluationConfig) -> dict[str, Any]:
    """The settings that decide an evaluation's numbers, its lengths aside (`eval_lengths`): what its identity is made of."""
    left_out = {"factors", "lengths", "tokens_per_batch"} | {
        name for name, protocol in OWN.items() if protocol not in config.protocols
    }
    if (
        config.block_spacing is None
    ):  # so that the evaluations of before this setting keep their names
        left_out.add("block_spacing")
    return {name: value for name, value in asdict(config).items() if name not in left_out}


def eval_lengths(config: EvaluationConfig, train_length: int) -> list[int]:
    """The lengths to evaluate, sorted, always with the training length. ConfigError for a length that is no whole number."""
    wanted = list(config.lengths) if config.lengths is not None else []
    for factor in [] if config.lengths is not None else config.factors:
        length = factor * train_length
        if length != int(length):
            raise ConfigError(
                f"evaluation.factors: {factor} x {train_length} = {length} is no whole number of tokens; give evaluation.lengths"
            )
        wanted.append(int(length))
    if not wanted or min(wanted) < 2:
        raise ConfigError(
            f"evaluation.lengths={wanted}: expected at least one length, each of 2 tokens or more"
        )
    return sorted({*wanted, train_length})


def plan(
    sizes: np.ndarray,
    names: Sequence[str],
    lengths: Sequence[int],
    train_length: int,
    config: EvaluationConfig,
) -> list[Request]:
    """The requests of every protocol. `sizes`: tokens in each document. DataError if no document is long enough."""
    longest = max(lengths)
    enough = [
        i
        for i in sorted(range(len(sizes)), key=lambda i: _hash(names[i]))
        if sizes[i] >= longest + 1
    ]
    if not enough:
        raise DataError(
            f"evaluation length {longest} needs a validation document of {longest + 1} tokens; the longest of {len(sizes)} has "
            f"{max(sizes, default=0)}: give shorter evaluation.lengths or another dataset"
        )
    amounts, spacing = (
        amounts_of(config, lengths, train_length),
        config.block_spacing or train_length,
    )
    if spacing < amounts.block:
        raise ConfigError(
            f"evaluation.block_spacing={spacing}: expected the {amounts.block} target tokens of a block or more, none is scored twice"
        )
    spans = [
        Span(i, _ends(int(sizes[i]), names[i], longest, spacing, config.blocks))
        for i in enough[: config.documents]
    ]
    return [
        request for name in config.protocols for request in PLANNERS[name](spans, lengths, amounts)
    ]


def amounts_of(config: EvaluationConfig, lengths: Sequence[int], train_length: int) -> Amounts:
    """The settings that may be left to the training length, as numbers."""
    quarter = max(1, train_length // 4)
    block = min(config.block or quarter, min(lengths))
    return Amounts(train_length, block, config.stride or quarter, config.last_k or quarter)


def _ends(size: int, name: str, longest: int, spacing: int, blocks: int) -> tuple[int, ...]:
    """Up to `blocks` ends in longest .. size - 1, `spacing` tokens apart; the first at a place that depends on the document's name alone."""
    room = size - 1 - longest
    count = min(blocks, room // spacing + 1)
    first = longest + _hash(name) % (room - (count - 1) * spacing + 1)
    return tuple(first + k * spacing for k in range(count))


def _hash(name: str) -> int:
    return int.from_bytes(
        hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "little"
    )
