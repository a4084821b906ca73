"""Which windows each protocol reads, and which of their targets it scores. No model, no torch.

Window (document, start, length, first, unscored): tokens start .. start+length-1 are fed; position
p predicts token start+p+1, seen with p+1 tokens of its document; positions first ..
length-unscored-1 are scored. Windows never cross documents.

- matched (primary): the same target tokens at every length L', each with L'-m+1 .. L' tokens of its
  document before it. Blocks of m targets lie before ends e >= the longest length; at L' the window
  is [e - L', e), and its last m positions are scored. Lengths differ in context alone.
- nonoverlapping: the tokens before a document's first end, as many as the longest length, cut from
  that end into windows of L', every position scored: ALiBi's and KERPLE's main tables. The average
  context grows with L', so perplexity falls even for a model that uses none of it.
- sliding: the same tokens through a window of L' that moves by a stride, each a target once. Press
  et al. 2021 (ALiBi) beside their main tables; Chen et al. 2023 (position interpolation) and YaRN
  with a stride of 256. The first window scores all its positions, which have little context.
- last_k: the windows of nonoverlapping, of which the last K targets are scored: Sandwich and DAPE
  with K = 256. All have much context, but every length has other targets, the longest the fewest.
- position: matched windows of the longest length, every position scored: loss by position.
- hard_window: matched at every length beyond L, under a hard window of L tokens in every layer
  (hard_window.py). What the matched loss is below this one comes from farther than L.
- shuffled: matched at L, with the scheme's positions shuffled (shuffled.py). A model that loses
  nothing by it does not use its positions.

Published tables run over whole documents; here each is cut to the longest length, so that every
length has the same text.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    document: int
    start: int
    length: int
    first: int
    unscored: int = 0  # positions after the scored ones

    @property
    def stop(self) -> int:
        """The position after the last scored one."""
        return self.length - self.unscored


@dataclass(frozen=True)
class Request:
    """All windows of one protocol at one length. Every window scores the same number of targets."""

    protocol: str
    eval_length: int
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Span:
    """A document, and the ends of its target blocks: windows end there; token `end` is a target."""

    document: int
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Amounts:
    """Tokens: training length, and targets of a matched, a later sliding, and a last_k window."""

    train_length: int
    block: int
    stride: int
    last_k: int


def requests(
    protocol: str, spans: Sequence[Span], lengths: Sequence[int], amounts: Amounts
) -> list[Request]:
    """The requests of one of PLANNERS, one for each length that it has."""
    longest, windows = max(lengths), PLANNERS[protocol]
    if protocol == "position":
        lengths = [longest]
    if protocol == "hard_window":
        lengths = [n for n in lengths if n > amounts.train_length]
    if protocol == "shuffled":
        lengths = [amounts.train_length]
    return [
        Request(protocol, n, tuple(w for s in spans for w in windows(s, n, longest, amounts)))
        for n in lengths
    ]


def _matched(s: Span, n: int, longest: int, amounts: Amounts) -> Iterator[Window]:
    m = amounts.block
    for end in s.ends:
        yield Window(s.document, end - n, n, n - m)


def _nonoverlapping(s: Span, n: int, longest: int, amounts: Amounts) -> Iterator[Window]:
    return _cut(s, n, longest, n)


def _last_k(s: Span, n: int, longest: int, amounts: Amounts) -> Iterator[Window]:
    return _cut(s, n, longest, min(amounts.last_k, n))


def _cut(s: Span, length: int, longest: int, scored: int) -> Iterator[Window]:
    for k in range(longest // length, 0, -1):
        yield Window(s.document, s.ends[0] - k * length, length, length - scored)


def _sliding(s: Span, length: int, longest: int, amounts: Amounts) -> Iterator[Window]:
    stride = min(amounts.stride, length)
    later, left = divmod(longest - length, stride)
    moves = later * [stride] + [left] * (left > 0)
    # All windows of a request score as many targets, so a window that scores more is repeated, once
    # for each part of its targets. Scoring merges the repetitions.
    part = math.gcd(length, *moves)
    end = s.ends[0] - longest + length
    for move, scored in ((0, length), *zip(moves, moves, strict=True)):
        end += move
        for after in range(scored - part, -1, -part):
            yield Window(s.document, end - length, length, length - after - part, after)


def _position(s: Span, n: int, longest: int, amounts: Amounts) -> Iterator[Window]:
    for end in s.ends:
        yield Window(s.document, end - n, n, 0)


# The windows of one document at one length, given the longest length.
PLANNERS: dict[str, Callable[[Span, int, int, Amounts], Iterator[Window]]] = {
    "matched": _matched,
    "nonoverlapping": _nonoverlapping,
    "sliding": _sliding,
    "last_k": _last_k,
    "position": _position,
    "hard_window": _matched,
    "shuffled": _matched,
}
