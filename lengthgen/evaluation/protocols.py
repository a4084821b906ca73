"""Which windows a protocol reads and which of their targets it scores. No model, no torch: plans only.

Window (document, start, length, first): tokens start .. start+length-1 are fed; position p predicts token start+p+1, seen
with p+1 tokens of its own document; positions first .. length-1 are scored. Windows never cross documents.

- matched: the same target tokens at every length L', each with L'-m+1 .. L' tokens of its own document before it. Target blocks
  of m tokens lie before ends e, e >= the longest length; at L' the window is [e - L', e), its last m positions are scored.
  The primary protocol: lengths differ by nothing but context (validity: early-token curse, other text at other lengths).
- nonoverlapping: the longest length of tokens before a document's first end, cut from that end into windows of L', every position
  scored, as ALiBi's and KERPLE's main tables do. The average context grows with L', so perplexity falls with L' even for a model that
  uses none of it.
- position: windows of the longest length (those of the matched targets), every position scored: the loss-by-position curve.
- band: the matched windows and targets of every length beyond L, read by the same model under a hard window of L tokens in every layer
  (band.py): what the matched loss there is below it comes from farther than L. Not in the default plan: it costs as much again.

Where the ends lie decides what an evaluation costs. Windows that start at the same token need one pass of a prefix-consistent scheme
(scoring.py), so ends are a training length L apart: lengths are mostly simple multiples of L, and the windows of one end then start where
shorter ones of the next do (1.5 L with 0.5 L, 2 L with L, 4 L with 3 L). Non-overlapping windows are cut from the first end, so that
the last one at every length is a matched window. At the default lengths an evaluation takes 0.38 of the FLOPs of separate passes (0.60
with ends a block apart and non-overlapping windows from the document's beginning; odd lengths such as 513 and 520 merge less).
Only differences between starts matter for this, so a document's first end is free: it is a stable function of the document's name, spread
over the document. Were it the longest length itself, all targets would be from the beginnings of documents (licences, imports, front
matter), and windows of the longest length, alone of all, would begin with the token that begins a document.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lengthgen import typed
from lengthgen.errors import ConfigError, DataError

EVALUATION_VERSION = 2  # raised when other tokens are scored or numbers change: trained weights stay valid, their evaluations do not
DEFAULT_FACTORS = [0.5, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0]


@dataclass
class EvaluationConfig:
    factors: list[float] = field(default_factory=lambda: list(DEFAULT_FACTORS))  # evaluation lengths as multiples of train_length
    lengths: list[int] | None = None  # evaluation lengths in tokens; given, they replace `factors`
    protocols: list[str] = field(default_factory=lambda: ["matched", "nonoverlapping", "position"])  # what to score
    documents: int = 48  # at most so many validation documents, chosen by a stable hash of their names
    blocks: int = 2  # target blocks a document, train_length apart (matched, position); fewer in a document that is too short
    block: int | None = None  # target tokens a block; null = train_length / 4
    tokens_per_batch: int = 8192  # tokens in one forward pass; memory, not results
    resamples: int = 2000  # bootstrap resamples of documents

    def __post_init__(self):
        known = tuple(PLANNERS)
        for name in self.protocols:
            typed.choice("evaluation.protocols", name, known)
        typed.check(bool(self.protocols), f"evaluation.protocols=[]: expected at least one of {', '.join(known)}")
        for name in ("documents", "blocks", "tokens_per_batch", "resamples"):
            typed.check(getattr(self, name) > 0, f"evaluation.{name}={getattr(self, name)}: expected a positive integer")
        typed.check(self.block is None or self.block > 0, f"evaluation.block={self.block}: expected a positive integer or null")
        typed.check(all(f > 0 for f in self.factors), f"evaluation.factors={self.factors}: expected positive numbers")


@dataclass(frozen=True)
class Window:
    document: int
    start: int
    length: int
    first: int


@dataclass(frozen=True)
class Request:
    """All windows of one protocol at one length. Every window scores length - first targets, the same number in each."""

    protocol: str
    eval_length: int
    windows: tuple[Window, ...]


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
        raise ConfigError(f"evaluation.lengths={wanted}: expected at least one length, each of 2 tokens or more")
    return sorted({*wanted, train_length})


def plan(sizes: np.ndarray, names: Sequence[str], lengths: Sequence[int], train_length: int, config: EvaluationConfig) -> list[Request]:
    """The requests of every protocol. `sizes`: tokens in each document. DataError if no document is long enough."""
    block = config.block or max(1, train_length // 4)
    block = min(block, min(lengths))
    longest = max(lengths)
    enough = [i for i in sorted(range(len(sizes)), key=lambda i: _hash(names[i])) if sizes[i] >= longest + 1]
    if not enough:
        raise DataError(
            f"evaluation length {longest} needs a validation document of {longest + 1} tokens; the longest of {len(sizes)} has "
            f"{max(sizes, default=0)}: give shorter evaluation.lengths or another dataset"
        )
    spans = [Span(i, _ends(int(sizes[i]), names[i], longest, train_length, config.blocks)) for i in enough[: config.documents]]
    return [request for name in config.protocols for request in PLANNERS[name](spans, lengths, block, train_length)]


@dataclass(frozen=True)
class Span:
    """A document, and the ends of its target blocks (fed windows end at these; the last target is the token at `end`)."""

    document: int
    ends: tuple[int, ...]


def _ends(size: int, name: str, longest: int, apart: int, blocks: int) -> tuple[int, ...]:
    """Up to `blocks` ends in longest .. size - 1, `apart` tokens apart; the first at a place that depends on the document's name alone."""
    room = size - 1 - longest
    count = min(blocks, room // apart + 1)
    first = longest + _hash(name) % (room - (count - 1) * apart + 1)
    return tuple(first + k * apart for k in range(count))


def _matched(spans: list[Span], lengths: Sequence[int], block: int, train_length: int) -> list[Request]:
    return [Request("matched", n, tuple(Window(s.document, end - n, n, n - block) for s in spans for end in s.ends)) for n in lengths]


def _nonoverlapping(spans: list[Span], lengths: Sequence[int], block: int, train_length: int) -> list[Request]:
    longest, requests = max(lengths), []
    for n in lengths:
        cuts = [(s.document, s.ends[0] - k * n) for s in spans for k in range(longest // n, 0, -1)]
        requests.append(Request("nonoverlapping", n, tuple(Window(document, start, n, 0) for document, start in cuts)))
    return requests


def _position(spans: list[Span], lengths: Sequence[int], block: int, train_length: int) -> list[Request]:
    n = max(lengths)
    return [Request("position", n, tuple(Window(s.document, end - n, n, 0) for s in spans for end in s.ends))]


def _band(spans: list[Span], lengths: Sequence[int], block: int, train_length: int) -> list[Request]:
    beyond = [n for n in lengths if n > train_length]
    return [Request("band", request.eval_length, request.windows) for request in _matched(spans, beyond, block, train_length)]


PLANNERS: dict[str, Callable[[list[Span], Sequence[int], int, int], list[Request]]] = {
    "matched": _matched,
    "nonoverlapping": _nonoverlapping,
    "position": _position,
    "band": _band,
}


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "little")
