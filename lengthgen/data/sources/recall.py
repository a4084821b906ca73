"""Keyed recall: pairs of a key and a value; some pairs come again a chosen distance later.

A document is key value key value ... With chance q a pair is a repetition: a distance is drawn
uniformly, and the pair that far back comes again if there is one that is no repetition and was not
repeated yet. Otherwise the pair is new: a key that the document has not had, and any value. So
distances are exact (a key has one earlier place), and the floor of a value is 0 where its key was
seen, else ln V. That of a key is exact too, but large: what counts is the loss on the values, by
distance (`distances_of`).

Shape letters: T symbols of a document, P pairs. Symbols: keys 0 .. n_keys - 1, then values.
"""

from dataclasses import dataclass

import numpy as np

from lengthgen.data.sources.draws import Draws


@dataclass(frozen=True)
class KeyedRecall:
    """distances: from a pair to its repetition, in symbols (two a pair), so even."""

    n_keys: int
    n_values: int
    repeat: float  # q
    distances: tuple[int, ...]

    def __post_init__(self):
        distances = self.distances
        valid = bool(distances) and all(d >= 2 and d % 2 == 0 for d in distances)
        if not valid or len(set(distances)) < len(distances):
            expected = "different even numbers >= 2 (a pair is two symbols)"
            raise ValueError(f"distances={distances}: expected {expected}")
        if not 0 < self.repeat < 1 or self.n_values < 2:
            given = f"repeat={self.repeat}, n_values={self.n_values}"
            raise ValueError(f"{given}: expected 0 < repeat < 1 and at least 2 values")

    @property
    def n_symbols(self) -> int:
        return self.n_keys + self.n_values

    def sample(self, draws: Draws, length: int) -> np.ndarray:
        """ValueError where the document could need more than n_keys keys."""
        n_pairs = (length + 1) // 2
        if n_pairs > self.n_keys:
            raise ValueError(
                f"{length} symbols are {n_pairs} pairs; "
                f"expected at most one for each of {self.n_keys} keys"
            )
        origin = self._drawn_origins(draws, n_pairs)
        # new keys in random order; repetitions leave theirs unused
        key = np.argsort(draws.uniform(self.n_keys), kind="stable")[:n_pairs]
        value = self.n_keys + draws.integers(self.n_values, n_pairs)
        return np.stack((key[origin], value[origin]), axis=1).ravel()[:length]

    def losses(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        """(T,) nats; infinite for what cannot come; NaN where a window hides a part of the past."""
        length = len(symbols)
        # the last pair may lack its value: any will do
        pairs = np.full((length + 1) // 2 * 2, self.n_keys)
        pairs[:length] = symbols
        keys, values = pairs[::2], pairs[1::2]
        origin = _origins(keys)
        known = origin < np.arange(len(keys))
        value = np.where(known, values == values[origin], 1 / self.n_values)
        chances = (self._key_chance(keys, origin), value * (values >= self.n_keys))
        with np.errstate(divide="ignore"):
            losses = -np.log(np.stack(chances, axis=1)).ravel()[:length]
        return losses if window is None else np.where(window >= np.arange(length), losses, np.nan)

    def distances_of(self, symbols: np.ndarray) -> np.ndarray:
        """(T,) int64: how far back a value that can be known stands, else 0."""
        origin = _origins(np.asarray(symbols)[::2])
        distances = np.zeros(2 * len(origin), dtype=np.int64)
        distances[1::2] = 2 * (np.arange(len(origin)) - origin)
        return distances[: len(symbols)]

    def _key_chance(self, keys: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """(P,) the chance of each pair's key, given all before it."""
        places = np.arange(len(keys))
        again, each = origin < places, self.repeat / len(self.distances)
        # of a new pair: the place up to which it can come again
        repeated_at = np.full(len(keys), len(keys))
        np.minimum.at(repeated_at, origin[again], places[again])
        # the chance that the pair is a repetition of any other
        any_again = np.zeros(len(keys))
        for back in (distance // 2 for distance in self.distances if distance // 2 < len(keys)):
            any_again[back:] += each * (~again[:-back] & (repeated_at[:-back] >= places[back:]))
        n_unused = self.n_keys - (np.cumsum(~again) - ~again)
        can_come = np.isin(2 * (places - origin), self.distances) & (repeated_at[origin] == places)
        new = (1 - any_again) / np.maximum(n_unused, 1)
        return np.where(again, each * can_come, new) * (keys < self.n_keys)

    def _drawn_origins(self, draws: Draws, n_pairs: int) -> np.ndarray:
        """(P,) the place of the pair that each one repeats; its own where it is new."""
        repeats = draws.uniform(n_pairs) < self.repeat
        back = np.array(self.distances)[draws.integers(len(self.distances), n_pairs)] // 2
        origin, can_come = list(range(n_pairs)), [True] * n_pairs
        for place in np.flatnonzero(repeats & (back <= np.arange(n_pairs))).tolist():
            earlier = place - int(back[place])
            if can_come[earlier]:
                origin[place] = earlier
                can_come[earlier] = can_come[place] = False
        return np.array(origin, dtype=np.int64)


def _origins(keys: np.ndarray) -> np.ndarray:
    """(P,) the first place of each pair's key."""
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    return first[index]
