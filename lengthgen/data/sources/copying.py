"""Sampling by copying: many sources are "a new symbol, or the one that stood there", and that needs no loop over time.

Which place each symbol copies from is drawn for all places at once; what stands there is then found by following the copies
back to the new symbol that they began with, all at once and twice as far in every round (pointer doubling). The longest
chain of copies in T symbols grows like ln T, so that a handful of rounds is enough.

Shape letter: T symbols.
"""

import numpy as np


def follow(origin: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(T,) symbols: new[t] where origin[t] == t, else what stands at origin[t] < t. origin, new: (T,) int64."""
    while True:
        further = origin[origin]
        if np.array_equal(further, origin):
            return new[origin]
        origin = further
