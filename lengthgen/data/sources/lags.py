"""Copying from lags: with probability p a symbol repeats the one k places before, else it is new.

P(x_t = v | past) = (1 - p) / V + p sum_k w_k [x_(t-k) = v], over the lags k that the document
already has, their weights w_k normalised to sum to 1; where it has none, the symbol is uniform over
all V. This is the mixture transition distribution (Raftery, "A model for high-order Markov chains",
JRSS B 1985). A single lag tau is the lag copy: x_t = x_(t-tau) with probability p.

As the weights are normalised over what is there, the law is that of one causal attention head with
the bias ln w_k at the offset k - 1, at every position and length (weights.py: which scheme has it).

Shape letters: V symbols, T symbols of a document, K lags.
"""

from dataclasses import dataclass, field

import numpy as np

from lengthgen.data.sources.copying import follow
from lengthgen.data.sources.draws import Draws


@dataclass(frozen=True, eq=False)
class Lags:
    """lags: (K,) integers >= 1, rising. weights: (K,) positive, of any sum; none: all alike."""

    n_symbols: int
    p: float
    lags: np.ndarray
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self):
        lags = np.asarray(self.lags, dtype=np.int64)
        weights = np.asarray(self.weights if len(self.weights) else np.ones(len(lags)), np.float64)
        if lags.ndim != 1 or len(lags) == 0 or lags[0] < 1 or (np.diff(lags) < 1).any():
            raise ValueError(f"lags={lags}: expected rising integers >= 1")
        if weights.shape != lags.shape or not (np.isfinite(weights) & (weights > 0)).all():
            raise ValueError(
                f"weights={weights}: expected one positive number for each of {len(lags)} lags"
            )
        if self.n_symbols < 2 or not 0 <= self.p < 1:
            given = f"n_symbols={self.n_symbols}, p={self.p}"
            raise ValueError(f"{given}: expected at least 2 symbols and 0 <= p < 1")
        object.__setattr__(self, "lags", lags)
        object.__setattr__(self, "weights", weights / weights.sum())

    def sample(self, draws: Draws, length: int) -> np.ndarray:
        places = np.arange(length)
        present = self._present(length)
        mass = np.concatenate((np.zeros(1), np.cumsum(self.weights)))
        # u * mass < mass, but rounding may reach it: never beyond the last lag that is there
        chosen = np.searchsorted(mass[1:], draws.uniform(length) * mass[present], side="right")
        lag = self.lags[np.minimum(chosen, np.maximum(present - 1, 0))]
        copies = (draws.uniform(length) < self.p) & (present > 0)
        origin = np.where(copies, places - lag, places)
        return follow(origin, draws.integers(self.n_symbols, length))

    def losses(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        """(T,) nats. NaN where a window shows some of the document's lags and hides others."""
        symbols = np.asarray(symbols)
        mass, match = np.zeros(len(symbols)), np.zeros(len(symbols))
        for lag, weight in zip(self.lags[self.lags < len(symbols)], self.weights, strict=False):
            mass[lag:] += weight
            match[lag:] += weight * (symbols[lag:] == symbols[:-lag])
        uniform = np.full(len(symbols), 1 / self.n_symbols)
        copied = np.divide(match, mass, out=uniform, where=mass > 0)
        losses = -np.log((1 - self.p) / self.n_symbols + self.p * copied)
        if window is None:
            return losses
        # With all lags in the window, the rest of the document adds nothing. With some, the hidden
        # depends on what is seen: taking it as uniform would be a bound, not the floor.
        farthest = np.concatenate(([0], self.lags))[self._present(len(symbols))]
        losses = np.where(window >= farthest, losses, np.nan)
        # Symbols whose places differ by no multiple of the lags' greatest common divisor are
        # independent, so a window shorter than it leaves all symbols equally likely.
        return np.where(window < np.gcd.reduce(self.lags), np.log(self.n_symbols), losses)

    def _present(self, length: int) -> np.ndarray:
        """(T,) how many of the lags a document has at each place."""
        return np.searchsorted(self.lags, np.arange(length), side="right")


def lag_copy(n_symbols: int, p: float, lag: int) -> Lags:
    """x_t = x_(t-lag) with probability p, else new."""
    return Lags(n_symbols, p, np.array([lag]))
