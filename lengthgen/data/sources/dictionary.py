"""Keys that recur at all distances, each with the value of the document's own dictionary.

A document is key value key value ... Keys are drawn independently, key k with chance f_k ~
(k + 1)^-exponent; its value, any of V, is drawn once a document and comes with every occurrence of
the key. So a value is known from any earlier occurrence, however far back, and nothing else says
anything about it: the floor of a value is 0 where its key is in what is seen, else ln V; that of a
key is -ln f_k, always. With the exponent 1 a key of rank k comes again after about k ln K pairs:
the distances to the last occurrence are spread like 1 / D up to some K ln K, and each doubling of
the context is worth about the same until then.

A window that begins with a value hides that value's key, which may be the one that is asked for:
`losses` takes it into account, so floors are exact in every window.

Shape letters: T symbols of a document, P pairs, K keys. Symbols: keys 0 .. K - 1, then V values.
"""

from dataclasses import dataclass

import numpy as np

from lengthgen.data.sources.draws import Draws


@dataclass(frozen=True)
class Dictionary:
    n_keys: int
    n_values: int
    exponent: float = 1.0

    def __post_init__(self):
        if self.n_keys < 2 or self.n_values < 2 or not 0 <= self.exponent < 10:
            raise ValueError(
                f"n_keys={self.n_keys}, n_values={self.n_values}, exponent={self.exponent}: "
                "expected at least 2 keys and values and 0 <= exponent < 10"
            )

    @property
    def n_symbols(self) -> int:
        return self.n_keys + self.n_values

    @property
    def frequencies(self) -> np.ndarray:
        """(K,) f_k."""
        weights = (np.arange(self.n_keys) + 1.0) ** -self.exponent
        return weights / weights.sum()

    def sample(self, draws: Draws, length: int) -> np.ndarray:
        n_pairs, mass = (length + 1) // 2, np.cumsum(self.frequencies)
        drawn = np.searchsorted(mass, draws.uniform(n_pairs) * mass[-1], side="right")
        keys = np.minimum(drawn, self.n_keys - 1)  # rounding may reach the end
        table = self.n_keys + draws.integers(self.n_values, self.n_keys)
        return np.stack((keys, table[keys]), axis=1).ravel()[:length]

    def losses(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        """(T,) nats; infinite for what cannot come. Exact for every window."""
        symbols, length = np.asarray(symbols, dtype=np.int64), len(symbols)
        n_pairs = (length + 1) // 2
        keys, values = symbols[::2], np.full(n_pairs, -1)
        values[: length // 2] = symbols[1::2] - self.n_keys
        chance = np.zeros(length)
        right = keys < self.n_keys
        chance[::2][right] = self.frequencies[keys[right]]
        places = np.arange(1, length, 2)  # of the values
        seen = places if window is None else np.broadcast_to(window, length)[places]
        first = np.maximum(places - seen, 0)
        asked = np.where(right, keys, 0)[: len(places)]
        chance[1::2] = self._of_values(asked, values[: len(places)], first, places)
        chance[1::2][~right[: len(places)]] = 0
        with np.errstate(divide="ignore"):
            return -np.log(chance)

    def _of_values(
        self, keys: np.ndarray, values: np.ndarray, first: np.ndarray, places: np.ndarray
    ) -> np.ndarray:
        """(P,) the chance of each pair's value, with the symbols from `first` on before it."""
        n_pairs, v = len(keys), self.n_values
        rows = np.arange(n_pairs)
        # last[p, k]: the last pair before p with the key k, -1 for none
        last = np.full((n_pairs + 1, self.n_keys), -1)
        last[rows + 1, keys] = rows
        last = np.maximum.accumulate(last, axis=0)[:n_pairs]
        known = last >= ((first + 1) // 2)[:, None]  # in a pair that is seen whole
        own = last[rows, keys]
        repeats = np.where(values == values[own], 1.0, 0.0)
        # A value at the beginning without its key: the key is k with the chance f_k, and a known
        # key must have that value. (Where the window begins at the value asked for, none is seen.)
        orphan = values[np.minimum(first // 2, n_pairs - 1)]
        f = self.frequencies
        agrees = known & (values[last] == orphan[:, None])
        others = ~known
        others[rows, keys] = False
        other = agrees @ f + (others @ f) / v
        new = (f[keys] * (values == orphan) + other) / (f[keys] + v * other)
        alone = (first % 2 == 0) | (first >= places)
        new = np.where(alone, 1 / v, new)
        return np.where(known[rows, keys], repeats, new) * (values >= 0)
