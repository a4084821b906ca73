"""The mutual information of a text by distance: what a token says about the one `lag` places later.

I(D) = sum p(a, b) ln(p(a, b) / (p(a) p(b))) over pairs (x_t, x_t+D), from counts, less the bias of
counting, (K_ab - K_a - K_b + 1) / 2N with K the numbers of different pairs and tokens seen (Miller
1955, Information Theory in Psychology; Roulston 1999, Physica D 125). Needs no model. A claim about
periodic distances needs peaks of I at the period; a curve that falls smoothly suits a monotone
penalty.

Shape letters: N pairs. Nats.
"""

from collections.abc import Iterable

import numpy as np


def by_lag(tokens: np.ndarray, lags: Iterable[int]) -> np.ndarray:
    """(N,) token ids of one stream -> I at each lag.

    Without dependence about 0, or below by chance.
    """
    _, dense = np.unique(tokens, return_inverse=True)
    return np.array([_between(dense[:-lag], dense[lag:]) for lag in lags])


def _between(one: np.ndarray, other: np.ndarray) -> float:
    size, n = int(max(one.max(), other.max())) + 1, len(one)
    pairs = np.bincount(one.astype(np.int64) * size + other, minlength=size * size)
    table = pairs.reshape(size, size)
    counts = (table.sum(axis=1), table.sum(axis=0), pairs)
    first, second, both = (_entropy(seen[seen > 0] / n) for seen in counts)
    kinds = [np.count_nonzero(seen) for seen in counts]
    return first + second - both - (kinds[2] - kinds[0] - kinds[1] + 1) / (2 * n)


def _entropy(p: np.ndarray) -> float:
    return float(-(p * np.log(p)).sum())
