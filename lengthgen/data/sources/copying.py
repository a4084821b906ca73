"""Sampling sources that say "a new symbol, or the one that stood there", without a loop over time.

Where each symbol copies from is drawn for all places at once; copies are then followed back to the
new symbol where they began.
"""

import numpy as np


def follow(origin: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(T,) symbols: new[t] where origin[t] == t, else what stands at origin[t] < t. All int64."""
    # Pointer doubling: each round goes twice as far back, so the longest chain, which grows like
    # ln T, takes a handful.
    while True:
        further = origin[origin]
        if np.array_equal(further, origin):
            return new[origin]
        origin = further
