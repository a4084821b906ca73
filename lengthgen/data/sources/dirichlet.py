"""Documents of independent symbols whose frequencies are drawn anew: Dirichlet(beta, ..., beta).

After n symbols, n_v of them v, the next is v with chance (n_v + beta) / (n + V beta) (Polya's urn),
whatever their order: the best attention is the same near and far, and more context always helps. A
predictor that sees only w symbols has the floor f(w) (exchangeability), so a measured loss can be
read as a number of symbols used: w_eff = f^-1(loss).

f(n) = -V sum_k BetaBinomial(k; n, beta, (V - 1) beta) q_k ln q_k,  q_k = (k + beta) / (n + V beta).
f(infinity) = psi(V beta + 1) - psi(beta + 1), the mean entropy of the frequencies.

Shape letters: V symbols, T symbols of a document.
"""

import math
from dataclasses import dataclass

import numpy as np

from lengthgen.data.sources.copying import follow
from lengthgen.data.sources.draws import Draws

LONGEST = 2**20  # symbols of context up to which a loss is inverted


@dataclass(frozen=True)
class Dirichlet:
    """beta: small gives few frequent symbols, large gives all the same frequency."""

    n_symbols: int
    beta: float = 1.0

    def __post_init__(self):
        if self.n_symbols < 2 or not self.beta > 0:
            given = f"n_symbols={self.n_symbols}, beta={self.beta}"
            raise ValueError(f"{given}: expected at least 2 symbols and beta > 0")

    def sample(self, draws: Draws, length: int) -> np.ndarray:
        # the urn: at t a new symbol with chance V beta / (t + V beta), else a copy of any before
        places, new = np.arange(length), self.n_symbols * self.beta
        drawn = np.floor(draws.uniform(length) * (places + new) - new).astype(np.int64)
        origin = np.where(drawn < 0, places, np.minimum(drawn, places))
        return follow(origin, draws.integers(self.n_symbols, length))

    def losses(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        """(T,) nats. Exact for every window: hidden symbols have the law of those that are seen."""
        symbols = np.asarray(symbols, dtype=np.int64)
        length = len(symbols)
        places = np.arange(length)
        first = np.maximum(places - (length if window is None else window), 0)
        # key + place orders by symbol, then by place: equal symbols in first .. t - 1 lie between
        # two such numbers
        key = symbols * (length + 1)
        ordered = np.sort(key + places)
        same = np.searchsorted(ordered, key + places) - np.searchsorted(ordered, key + first)
        return -np.log((same + self.beta) / (places - first + self.n_symbols * self.beta))

    def floor(self, seen: int) -> float:
        """f(seen): the mean loss, in nats, of the best predictor that sees so many symbols."""
        share, rest = self.beta, (self.n_symbols - 1) * self.beta
        k = np.arange(seen)
        # ratios of neighbouring chances, added up: no gamma function, nothing large to cancel
        growth = np.log((seen - k) * (k + share)) - np.log((k + 1) * (seen - k - 1 + rest))
        weight = np.concatenate(([0.0], np.cumsum(growth)))
        weight = np.exp(weight - weight.max())
        q = (np.arange(seen + 1) + share) / (seen + share + rest)
        return float(self.n_symbols * (weight / weight.sum()) @ (-q * np.log(q)))

    def context_of(self, loss: float) -> float:
        """w_eff: how many symbols the best predictor has to see to have this mean loss.

        0 for a loss of ln V or more, infinity beyond 2^20; f is interpolated linearly.
        """
        low, high = 0, 1
        if loss >= self.floor(low):
            return 0.0
        while self.floor(high) > loss:
            if high >= LONGEST:
                return math.inf
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.floor(middle) > loss else (low, middle)
        above, below = self.floor(low), self.floor(high)
        return low + (above - loss) / (above - below)
