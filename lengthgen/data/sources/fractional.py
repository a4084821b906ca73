"""Copying from a lag that is a fixed share of the document: tau = round(share * T).

The lag copy of lags.py with a lag for each length: a position relative to the length could find it,
a distance in tokens cannot. Models may look at whole documents only, as a part does not tell the
length of the whole.

Shape letter: T symbols of a document.
"""

from dataclasses import dataclass

import numpy as np

from lengthgen.data.sources.draws import Draws
from lengthgen.data.sources.lags import Lags, lag_copy


@dataclass(frozen=True)
class FractionalLag:
    """share: of the document's length, between 0 and 1."""

    n_symbols: int
    p: float
    share: float

    def of_length(self, length: int) -> Lags:
        """The lag copy of documents of `length` symbols. ValueError unless its lag fits."""
        lag = round(self.share * length)
        if not 0 < lag < length:
            raise ValueError(
                f"share={self.share} of {length} symbols is a lag of {lag}: "
                f"expected 1 to {length - 1}"
            )
        return lag_copy(self.n_symbols, self.p, lag)

    def sample(self, draws: Draws, length: int) -> np.ndarray:
        return self.of_length(length).sample(draws, length)

    def losses(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        """(T,) nats, for a whole document: its length gives the lag."""
        return self.of_length(len(symbols)).losses(symbols, window)
