"""What the last k tokens say about the next one, by counting: a predictor in the manner of PPM.

For m = 0, 1, 2, ... up to 16 (`ORDERS`) it looks up what followed the last m tokens, first in the
training text, then in the window, which is the last k tokens before the target and nothing else:

P <- (n(v) + a_m P(v)) / (n + a_m),

from P(v) = 1 / V, where n is how often the last m tokens stood there and n(v) how often v followed.
That is a Dirichlet prior with the mean P and the strength a_m (MacKay and Peto, "A hierarchical
Dirichlet language model", 1995); long matches come last, as in prediction by partial matching
(Cleary and Witten 1984). The strengths are fitted on training documents that are not counted,
for every k anew, so that a longer window is not punished by what suits a short one.

What it is: the loss of a stated, cheap predictor, exact for it, on the same targets at every k. A
fall from k to 2k shows that text this far back repeats, in strings or in frequencies, in a way that
the training text did not foretell. What it is not: a floor or a ceiling for a Transformer. It sees
no patterns with gaps (copies from a lag, tables, syntax), and where it gains nothing a better model
may gain; where it gains, a model gains only once it has learned to copy.

Shape letters: T targets, M orders, K window sizes, N tokens of a text. Nats.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

ORDERS = (0, 1, 2, 3, 4, 5, 6, 8, 12, 16)
LARGEST = ORDERS[-1]
STRENGTHS = 4.0 ** np.arange(-4, 11)  # where a fit begins to look for a_m
CHUNK = 1 << 20  # tokens of a text that are counted at a time
LOWEST = np.uint64((1 << 20) - 1)  # bits
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio


@dataclass(frozen=True)
class Counts:
    """after: how often the last m tokens stood before some token; of those, same: the target."""

    after: np.ndarray  # (T, M) int64, or (T, M, K)
    same: np.ndarray  # as `after`

    def at(self, window: int) -> "Counts":
        return Counts(self.after[..., window], self.same[..., window])


def in_text(stream: np.ndarray, tokens: np.ndarray, places: np.ndarray) -> Counts:
    """Counts in a text `stream` (N,) for the targets tokens[places]; places >= 16.

    Strings are compared by 64-bit hashes: two different ones among 10^8 are taken for the same with
    a chance below one in a thousand.
    """
    wanted = [_Wanted(hashes, tokens[places]) for hashes in _hashes(tokens, places)]
    for first in range(0, len(stream), CHUNK):
        here = np.arange(first, min(first + CHUNK, len(stream)))
        for order, one, hashes in zip(ORDERS, wanted, _hashes(stream, here), strict=True):
            # a place with fewer tokens before it has no such context
            inside = slice(max(order - first, 0), None)
            one.count(hashes[inside], stream[here[inside]])
    after, same = zip(*(one.counts() for one in wanted), strict=True)
    return Counts(np.stack(after, axis=1), np.stack(same, axis=1))


class _Wanted:
    """Counts of some contexts, and of the tokens that are asked for after them, in a text."""

    def __init__(self, contexts: np.ndarray, tokens: np.ndarray):
        self.contexts, self.context_of = np.unique(contexts, return_inverse=True)
        self.nexts, self.next_of = np.unique(_with_next(contexts, tokens), return_inverse=True)
        self.after = np.zeros(len(self.contexts), np.int64)
        self.same = np.zeros(len(self.nexts), np.int64)
        # by the lowest bits: most strings of a text are not wanted
        self.maybe = np.zeros(1 << 20, bool)
        self.maybe[self.contexts & LOWEST] = True

    def count(self, hashes: np.ndarray, tokens: np.ndarray) -> None:
        """Add a part of the text: the contexts, and the tokens after them."""
        places = np.flatnonzero(self.maybe[hashes & LOWEST])
        places, found = _found(self.contexts, hashes[places], places)
        self.after += np.bincount(found, minlength=len(self.contexts))
        _, found = _found(self.nexts, _with_next(hashes[places], tokens[places]), places)
        self.same += np.bincount(found, minlength=len(self.nexts))

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """(T,) each: of every context, and of its token."""
        return self.after[self.context_of], self.same[self.next_of]


def _found(
    wanted: np.ndarray, values: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(those places whose value is wanted, its index there). wanted: sorted."""
    at = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    hit = wanted[at] == values
    return places[hit], at[hit]


def in_windows(tokens: np.ndarray, places: np.ndarray, windows: Sequence[int]) -> Counts:
    """Counts in the last k tokens before each target tokens[places], for rising windows k (K,).

    places >= the largest window.
    """
    sizes, widest = np.asarray(windows), windows[-1]
    shape = len(places), len(ORDERS), len(windows)
    after, same = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, place in enumerate(places.tolist()):
        window, target = tokens[place - widest : place], tokens[place]
        found = np.arange(widest)  # places in the window before which the last m tokens stand
        for order in range(LARGEST + 1):
            if order:
                found = found[found >= order]
                found = found[window[found - order] == window[widest - order]]
                if not len(found):
                    break
            if order in ORDERS:
                column = ORDERS.index(order)
                needed = np.searchsorted(sizes, widest - found + order)
                hit = window[found] == target
                for counts, those in ((after, needed), (same, needed[hit])):
                    counts[row, column] = np.cumsum(np.bincount(those, minlength=len(sizes)))[
                        : len(sizes)
                    ]
    return Counts(after, same)


class Predictor:
    """The counts of a text `stream` (N,), and strengths fitted for every window."""

    def __init__(self, stream: np.ndarray, vocab_size: int):
        self.stream, self.vocab_size = stream, vocab_size
        self.strengths: dict[int, np.ndarray] = {}  # window -> (2, M): of the text, of the window

    def fit(self, tokens: np.ndarray, places: np.ndarray, windows: Sequence[int]) -> None:
        """To targets tokens[places] that are not in the stream."""
        text, seen = in_text(self.stream, tokens, places), in_windows(tokens, places, windows)
        strengths = np.stack((np.full(len(ORDERS), 4.0), np.full(len(ORDERS), 64.0)))
        for index, window in enumerate(windows):
            counts = seen.at(index)

            def mean_loss(strengths: np.ndarray, counts: Counts = counts) -> float:
                return float(losses(text, counts, strengths, self.vocab_size).mean())

            strengths = _descended(strengths, mean_loss)
            self.strengths[window] = strengths

    def losses(self, tokens: np.ndarray, places: np.ndarray, windows: Sequence[int]) -> np.ndarray:
        """(T, K) nats, of the targets tokens[places] with each of the fitted windows."""
        text, seen = in_text(self.stream, tokens, places), in_windows(tokens, places, windows)
        columns = [
            losses(text, seen.at(index), self.strengths[window], self.vocab_size)
            for index, window in enumerate(windows)
        ]
        return np.stack(columns, axis=1)


def losses(text: Counts, window: Counts, strengths: np.ndarray, vocab_size: int) -> np.ndarray:
    """(T,) nats. window: of one k. strengths: a_m of the text and of the window, (2, M)."""
    p = np.full(len(text.after), 1 / vocab_size)
    for column, (of_text, of_window) in enumerate(strengths.T):
        p = (text.same[:, column] + of_text * p) / (text.after[:, column] + of_text)
        p = (window.same[:, column] + of_window * p) / (window.after[:, column] + of_window)
    return -np.log(p)


def _descended(start: np.ndarray, mean_loss: Callable[[np.ndarray], float]) -> np.ndarray:
    """One strength after the other, over a wide grid three times, then by factors of 4 and 2."""
    best, least = start.copy(), mean_loss(start)
    for factors in (None, None, None, (0.25, 4.0), (0.5, 2.0)):
        for place in reversed(range(best.size)):
            tries = STRENGTHS if factors is None else best.flat[place] * np.array(factors)
            for strength in tries.tolist():
                trial = best.copy()
                trial.flat[place] = strength
                loss = mean_loss(trial)
                if loss < least:
                    best, least = trial, loss
    return best


def _hashes(tokens: np.ndarray, places: np.ndarray) -> Iterator[np.ndarray]:
    """(len(places),) uint64 for each of ORDERS: of so many tokens before each place.

    Where fewer tokens stand before a place, its hash means nothing.
    """
    mixed = _mixed(np.arange(int(tokens.max(initial=0)) + 1))
    hashes = np.zeros(len(places), np.uint64)
    for order in range(LARGEST + 1):
        if order:
            hashes = hashes * GOLDEN + mixed[tokens[np.maximum(places - order, 0)]]
        if order in ORDERS:
            yield _mixed(hashes + np.uint64(order))


def _with_next(hashes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return _mixed(hashes + _mixed(tokens) * np.uint64(0xD1B54A32D192ED03))


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    z = values.astype(np.uint64) + GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
