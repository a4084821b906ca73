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
- sliding: the same tokens through a window of L' that moves by a stride, so that every token is a
  target once. Press et al. 2021 (ALiBi) beside their main tables; Chen et al. 2023 (position
  interpolation) and YaRN with a stride of 256. The first window scores all its positions: these
  have little context, and are more at longer lengths.
- last_k: the windows of nonoverlapping, of which the last K targets are scored: Sandwich and DAPE
  with K = 256. No target has little context, but every length has other tokens, the longest the
  fewest.
- position: matched windows of the longest length, every position scored: loss by position.
- hard_window: the matched windows and targets of every length beyond L, read by the same model
  under a hard window of L tokens in every layer (hard_window.py). What the matched loss is below
  this one comes from farther than L.

Published tables run over whole documents or corpora; here each text is cut to the longest length,
so that every length has the same one.
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


def _matched(spans: list[Span], lengths: Sequence[int], amounts: Amounts) -> list[Request]:
    m = amounts.block
    return [
        Request(
            "matched",
            n,
            tuple(Window(s.document, end - n, n, n - m) for s in spans for end in s.ends),
        )
        for n in lengths
    ]


def _nonoverlapping(spans: list[Span], lengths: Sequence[int], amounts: Amounts) -> list[Request]:
    return [Request("nonoverlapping", n, tuple(_cut(spans, n, max(lengths), n))) for n in lengths]


def _last_k(spans: list[Span], lengths: Sequence[int], amounts: Amounts) -> list[Request]:
    return [
        Request("last_k", n, tuple(_cut(spans, n, max(lengths), min(amounts.last_k, n))))
        for n in lengths
    ]


def _cut(spans: list[Span], length: int, longest: int, scored: int) -> Iterator[Window]:
    for s in spans:
        for k in range(longest // length, 0, -1):
            yield Window(s.document, s.ends[0] - k * length, length, length - scored)


def _sliding(spans: list[Span], lengths: Sequence[int], amounts: Amounts) -> list[Request]:
    return [
        Request("sliding", n, tuple(_slide(spans, n, max(lengths), min(amounts.stride, n))))
        for n in lengths
    ]


def _slide(spans: list[Span], length: int, longest: int, stride: int) -> Iterator[Window]:
    later, left = divmod(longest - length, stride)
    moves = later * [stride] + [left] * (left > 0)
    # All windows of a request score as many targets, so a window that scores more is repeated, once
    # for each part of its targets. Scoring merges the repetitions.
    part = math.gcd(length, *moves)
    for s in spans:
        end = s.ends[0] - longest + length
        for move, scored in ((0, length), *zip(moves, moves, strict=True)):
            end += move
            for after in range(scored - part, -1, -part):
                yield Window(s.document, end - length, length, length - after - part, after)


def _position(spans: list[Span], lengths: Sequence[int], amounts: Amounts) -> list[Request]:
    n = max(lengths)
    windows = tuple(Window(s.document, end - n, n, 0) for s in spans for end in s.ends)
    return [Request("position", n, windows)]


def _hard_window(spans: list[Span], lengths: Sequence[int], amounts: Amounts) -> list[Request]:
    beyond = [n for n in lengths if n > amounts.train_length]
    return [
        Request("hard_window", request.eval_length, request.windows)
        for request in _matched(spans, beyond, amounts)
    ]


PLANNERS: dict[str, Callable[[list[Span], Sequence[int], Amounts], list[Request]]] = {
    "matched": _matched,
    "nonoverlapping": _nonoverlapping,
    "sliding": _sliding,
    "last_k": _last_k,
    "position": _position,
    "hard_window": _hard_window,
}
