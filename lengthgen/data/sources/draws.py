"""Random numbers that are the same on every machine and with every version of NumPy.

They come from the raw stream of Philox4x64, for the reason given in data/batches.py.
"""

import hashlib

import numpy as np


class Draws:
    """A stream for each key, texts and numbers such as (seed, "train", 17)."""

    def __init__(self, *key: str | int):
        # hashed: plain numbers could key the stream that batches.py draws from
        digest = hashlib.sha256("/".join(map(str, ("source", *key))).encode()).digest()
        words = np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)
        self._stream = np.random.Philox(key=words)

    def uniform(self, size: int) -> np.ndarray:
        """(size,) float64 in [0, 1)."""
        # 53 bits, the precision of a float64
        return (self._stream.random_raw(size) >> np.uint64(11)) * 2.0**-53

    def integers(self, end: int, size: int) -> np.ndarray:
        """(size,) int64 in [0, end); the remainder's bias is below end / 2^64."""
        return (self._stream.random_raw(size) % np.uint64(end)).astype(np.int64)
