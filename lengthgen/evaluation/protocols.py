"""What an evaluation measures: settings, lengths, documents, and places in them. No torch.

What each protocol reads and scores there: planners.py.

Windows that start at the same token need one forward pass of a prefix-consistent scheme
(scoring.py), so the ends of blocks are a training length L apart: windows of one end then start
where shorter ones of the next do (1.5 L with 0.5 L, 2 L with L, 4 L with 3 L), and the last
non-overlapping window of every length is a matched one. At the default lengths this takes 0.38 of
the FLOPs of separate passes. A model trained at another length scores the same tokens with the same
`block_spacing` and `block` (reporting/references.py).

A document's first end depends on its name and may be anywhere in it. Were it the longest length,
all targets would come from beginnings (licences, imports, front matter), and only the longest
windows would begin with a document's first token.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lengthgen.config import dataclass_from
from lengthgen.errors import ConfigError, DataError
from lengthgen.evaluation.planners import PLANNERS, Amounts, Request, Span, requests

# Raised when other tokens are scored or numbers change: trained weights stay valid, their
# evaluations do not.
EVALUATION_VERSION = 3
DEFAULT_FACTORS = [0.5, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0]
DEFAULT_PROTOCOLS = ["matched", "nonoverlapping", "position", "shuffled"]
# Settings of a single protocol: without it they decide no number.
OF_PROTOCOL = {"stride": "sliding", "last_k": "last_k"}


@dataclass
class EvaluationConfig:
    # evaluation lengths as multiples of train_length
    factors: list[float] = field(default_factory=lambda: list(DEFAULT_FACTORS))
    lengths: list[int] | None = None  # evaluation lengths in tokens; they replace `factors`
    # what to score; matched is the primary one
    protocols: list[str] = field(default_factory=lambda: list(DEFAULT_PROTOCOLS))
    documents: int = 48  # at most this many validation documents, chosen by a hash of their names
    # target blocks per document (matched, position); fewer in a document that is too short
    blocks: int = 2
    # tokens between the ends of a document's target blocks; null = train_length
    block_spacing: int | None = None
    block: int | None = None  # target tokens of a block; null = train_length / 4
    # sliding: tokens between windows, and targets of all but the first; null = train_length / 4
    stride: int | None = None
    last_k: int | None = None  # last_k: targets of each window; null = train_length / 4
    # tokens in one forward pass; memory, not results; null = 8192 on CPU, on a GPU by its memory
    tokens_per_batch: int | None = None
    resamples: int = 2000  # bootstrap resamples of documents, of the loss by position

    def __post_init__(self):
        known = tuple(PLANNERS)
        dataclass_from.check(
            bool(self.protocols),
            f"evaluation.protocols=[]: expected at least one of {', '.join(known)}",
        )
        for name in self.protocols:
            dataclass_from.choice("evaluation.protocols", name, known)
        optional = ("block_spacing", "block", "stride", "last_k", "tokens_per_batch")
        for name in ("documents", "blocks", "resamples", *optional):
            value, or_null = getattr(self, name), " or null" if name in optional else ""
            dataclass_from.check(
                value is None or value > 0,
                f"evaluation.{name}={value}: expected a positive integer{or_null}",
            )
        dataclass_from.check(
            all(factor > 0 for factor in self.factors),
            f"evaluation.factors={self.factors}: expected positive numbers",
        )


def deciding(config: EvaluationConfig) -> dict[str, Any]:
    """The settings that an evaluation's identity is made of, without its lengths."""
    left_out = {"factors", "lengths", "tokens_per_batch"}
    left_out |= {name for name, needs in OF_PROTOCOL.items() if needs not in config.protocols}
    # The setting is younger than evaluations without it, which keep their identity.
    if config.block_spacing is None:
        left_out.add("block_spacing")
    return {name: value for name, value in asdict(config).items() if name not in left_out}


def eval_lengths(config: EvaluationConfig, train_length: int) -> list[int]:
    """The lengths to evaluate, sorted, always with the training length.

    ConfigError for a length that is not a whole number of at least 2 tokens.
    """
    lengths = config.lengths
    if lengths is None:
        lengths = []
        for factor in config.factors:
            length = factor * train_length
            if length != int(length):
                raise ConfigError(
                    f"evaluation.factors: {factor} x {train_length} = {length} is no whole number "
                    "of tokens; give evaluation.lengths"
                )
            lengths.append(int(length))
    if not lengths or min(lengths) < 2:
        raise ConfigError(
            f"evaluation.lengths={list(lengths)}: expected at least one length, each of 2 tokens "
            "or more"
        )
    return sorted({*lengths, train_length})


def plan(
    sizes: np.ndarray,
    names: Sequence[str],
    lengths: Sequence[int],
    train_length: int,
    config: EvaluationConfig,
) -> list[Request]:
    """The requests of every protocol. sizes: tokens per document.

    DataError if no document is long enough.
    """
    longest = max(lengths)
    by_name = sorted(range(len(sizes)), key=lambda i: _hash(names[i]))
    long_enough = [i for i in by_name if sizes[i] >= longest + 1]
    if not long_enough:
        raise DataError(
            f"evaluation length {longest} needs a validation document of {longest + 1} tokens; the "
            f"longest of {len(sizes)} has {max(sizes, default=0)}: give shorter "
            "evaluation.lengths or another dataset"
        )
    amounts, spacing = amounts_of(config, lengths, train_length), config.block_spacing
    spacing = spacing or train_length
    if spacing < amounts.block:
        raise ConfigError(
            f"evaluation.block_spacing={spacing}: expected the {amounts.block} target tokens of a "
            "block or more, none is scored twice"
        )
    spans = [
        Span(i, _ends(int(sizes[i]), names[i], longest, spacing, config.blocks))
        for i in long_enough[: config.documents]
    ]
    return [one for name in config.protocols for one in requests(name, spans, lengths, amounts)]


def amounts_of(config: EvaluationConfig, lengths: Sequence[int], train_length: int) -> Amounts:
    """The settings that may be left to the training length, as numbers."""
    quarter = max(1, train_length // 4)
    block = min(config.block or quarter, min(lengths))
    return Amounts(train_length, block, config.stride or quarter, config.last_k or quarter)


def _ends(size: int, name: str, longest: int, spacing: int, blocks: int) -> tuple[int, ...]:
    """Up to `blocks` ends in longest .. size - 1; the first depends on the name alone."""
    room = size - 1 - longest
    count = min(blocks, room // spacing + 1)
    first = longest + _hash(name) % (room - (count - 1) * spacing + 1)
    return tuple(first + k * spacing for k in range(count))


def _hash(name: str) -> int:
    # Not hash(), which differs between processes.
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "little")
