"""Keyed recall: pairs of a key and a value; now and then a pair comes again, a chosen distance later. The key says which value.

A document is key value key value ... A pair is asked for again with chance q: a distance is drawn, all alike, and if the
pair that stands so far back is there, is no repetition itself and was not repeated yet, it comes again. Else the
pair is new: a key that the document has not had, and any value. So every distance is exact (a key has one earlier place), and
the floor of a value is 0 where its key was seen and ln V where it was not. The floor of a key, no less exact, is large: what counts is
the loss on the values, by distance (`distances_of`).

Shape letters: T symbols of a document, P pairs. Symbols: keys 0 .. n_keys - 1, then values. Distances in symbols, even.
"""

from dataclasses import dataclass

import numpy as np

from lengthgen.data.sources.draws import Draws


@dataclass(frozen=True)
class KeyedRecall:
    """distances: from a pair to its repetition, in symbols (two a pair)."""

    n_keys: int
    n_values: int
    repeat: float  # q
    distances: tuple[int, ...]

    def __post_init__(self):
        if (
            not self.distances
            or any(d < 2 or d % 2 for d in self.distances)
            or len(set(self.distances)) < len(self.distances)
        ):
            raise ValueError(f"distances={self.distances}: expected different even numbers >= 2")
        if not 0 < self.repeat < 1 or self.n_values < 2:
            raise ValueError(
                f"repeat={self.repeat}, n_values={self.n_values}: expected 0 < repeat < 1 and at least 2 values"
            )

    @property
    def n_symbols(self) -> int:
        return self.n_keys + self.n_values

    def sample(self, draws: Draws, length: int) -> np.ndarray:
        """One document, (length,) int64. ValueError where it could need more keys than there are."""
        n_pairs = (length + 1) // 2
        if n_pairs > self.n_keys:
            raise ValueError(
                f"{length} symbols are {n_pairs} pairs; expected at most one for each of {self.n_keys} keys"
            )
        origin = self._drawn_origins(draws, n_pairs)
        key = np.argsort(draws.uniform(self.n_keys), kind="stable")[
            :n_pairs
        ]  # new keys in random order; repetitions leave theirs unused
        value = self.n_keys + draws.integers(self.n_values, n_pairs)
        return np.stack((key[origin], value[origin]), axis=1).ravel()[:length]

    def losses(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        """(T,) nats; infinite for what cannot come. NaN where a window hides a part of the document: what the keys there would say
        is not worked out."""
        length = len(symbols)
        pairs = np.full(
            (length + 1) // 2 * 2, self.n_keys
        )  # the last pair may lack its value: any will do
        pairs[:length] = symbols
        keys, values = pairs[::2], pairs[1::2]
        origin = _origins(keys)
        with np.errstate(divide="ignore"):
            losses = -np.log(
                np.stack(
                    (self._key_chance(keys, origin), self._value_chance(values, origin)), axis=1
                )
            ).ravel()[:length]
        return losses if window is None else np.where(window >= np.arange(length), losses, np.nan)

    def distances_of(self, symbols: np.ndarray) -> np.ndarray:
        """(T,) int64: at the values that can be known, how many symbols ago they stood; 0 at all other symbols."""
        origin = _origins(np.asarray(symbols)[::2])
        found = np.zeros(2 * len(origin), dtype=np.int64)
        found[1::2] = 2 * (np.arange(len(origin)) - origin)
        return found[: len(symbols)]

    def _key_chance(self, keys: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """(P,) the chance of each pair's key, given all before it."""
        places = np.arange(len(keys))
        again, each = origin < places, self.repeat / len(self.distances)
        repeated_at = np.full(
            len(keys), len(keys)
        )  # of a new pair: the place up to which it can come again
        np.minimum.at(repeated_at, origin[again], places[again])
        any_again = np.zeros(len(keys))
        for back in (distance // 2 for distance in self.distances if distance // 2 < len(keys)):
            any_again[back:] += each * (~again[:-back] & (repeated_at[:-back] >= places[back:]))
        n_unused = self.n_keys - (np.cumsum(~again) - ~again)
        can_come = np.isin(2 * (places - origin), self.distances) & (repeated_at[origin] == places)
        return np.where(again, each * can_come, (1 - any_again) / np.maximum(n_unused, 1)) * (
            keys < self.n_keys
        )

    def _value_chance(self, values: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """(P,) the chance of each pair's value, given its key and all before it."""
        again = origin < np.arange(len(values))
        return np.where(again, values == values[origin], 1 / self.n_values) * (
            values >= self.n_keys
        )

    def _drawn_origins(self, draws: Draws, n_pairs: int) -> np.ndarray:
        """(P,) the place of the pair that each one repeats; its own where it is new."""
        asked = draws.uniform(n_pairs) < self.repeat
        back = np.array(self.distances)[draws.integers(len(self.distances), n_pairs)] // 2
        origin, can_come = list(range(n_pairs)), [True] * n_pairs
        for place in np.flatnonzero(asked & (back <= np.arange(n_pairs))).tolist():
            earlier = place - int(back[place])
            if can_come[earlier]:
                origin[place] = earlier
                can_come[earlier] = can_come[place] = False
        return np.array(origin, dtype=np.int64)


def _origins(keys: np.ndarray) -> np.ndarray:
    """(P,) the first place of each pair's key."""
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    return first[index]
