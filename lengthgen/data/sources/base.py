"""What every synthetic source offers. Shape letter: T symbols of one document."""

from typing import Protocol

import numpy as np

from lengthgen.data.sources.draws import Draws


class Source(Protocol):
    """Documents are independent of each other. Symbols are 0 .. n_symbols - 1."""

    @property
    def n_symbols(self) -> int: ...

    def sample(self, draws: Draws, length: int) -> np.ndarray:
        """One document, (length,) int64."""

    def losses(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        """-ln P(symbol | what is seen), (T,) float64 nats, for a document from its beginning.

        Seen are all symbols before it; with `window` (one number, or (T,)) only so many. The place
        in the document is always known. NaN where a window has no exact rule.
        """
