"""Keys that recur at all distances, each with the value of the document's own dictionary.

A document is key value key value ... Keys are drawn independently, key k with chance f_k ~
(k + 1)^-exponent. Each key has V values of its own, of which one is drawn for the document and
comes with every occurrence of the key. So a value is known from any earlier occurrence, however far
back, and nothing else says anything about it: the floor of a value is 0 where it stands in what is
seen, else ln V; that of a key is -ln f_k, always. All this holds in every window.

With the exponent 1 a key of rank k comes again after about k ln K pairs: the distances to the last
occurrence are spread like 1 / D up to some K ln K, and each doubling of the context is worth about
the same until then. As values belong to keys, one look back at the symbol that belongs to the key
is enough: no head has to find what followed an earlier occurrence.

Shape letters: T symbols of a document, P pairs, K keys, V values of each. Symbols: keys 0 .. K - 1,
then the values K + k V + v.
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
        return self.n_keys * (1 + self.n_values)

    @property
    def frequencies(self) -> np.ndarray:
        """(K,) f_k."""
        weights = (np.arange(self.n_keys) + 1.0) ** -self.exponent
        return weights / weights.sum()

    def sample(self, draws: Draws, length: int) -> np.ndarray:
        n_pairs, mass = (length + 1) // 2, np.cumsum(self.frequencies)
        drawn = np.searchsorted(mass, draws.uniform(n_pairs) * mass[-1], side="right")
        keys = np.minimum(drawn, self.n_keys - 1)  # rounding may reach the end
        value = draws.integers(self.n_values, self.n_keys)
        table = self.n_keys + np.arange(self.n_keys) * self.n_values + value
        return np.stack((keys, table[keys]), axis=1).ravel()[:length]

    def losses(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        """(T,) nats; infinite for what cannot come. Exact for every window."""
        symbols, length = np.asarray(symbols, dtype=np.int64), len(symbols)
        places = np.arange(length)
        first = np.maximum(places - (length if window is None else window), 0)
        owner = np.where(symbols < self.n_keys, -1, (symbols - self.n_keys) // self.n_values)
        chance, keys = np.zeros(length), symbols[::2]
        chance[::2] = np.append(self.frequencies, 0)[np.minimum(keys, self.n_keys)]
        # of each value: where the last value of its key stands before it, -1 for nowhere
        last, before = np.full(self.n_keys, -1), np.full(length, -1)
        for place in places[1::2].tolist():
            if owner[place] >= 0:
                before[place], last[owner[place]] = last[owner[place]], place
        values = places[1::2]
        hidden = before[values] < first[values]
        repeats = symbols[values] == symbols[before[values]]
        # Where the window begins with the value, its key is not seen: any key may have been drawn.
        named = np.where(values > first[values], owner[values] == keys[: len(values)], True)
        chance[values] = np.where(hidden, 1 / self.n_values, repeats) * named
        blind = values == first[values]
        chance[values[blind]] = self.frequencies[owner[values[blind]]] / self.n_values
        chance[values[owner[values] < 0]] = 0
        with np.errstate(divide="ignore"):
            return -np.log(chance)
