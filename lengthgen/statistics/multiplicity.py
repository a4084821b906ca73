"""Many hypotheses at once: Holm for the declared ones, Benjamini and Hochberg for the others.

Holm 1979 (Scandinavian Journal of Statistics 6): the chance of any false rejection stays at alpha,
whatever the tests share. Benjamini and Hochberg 1995 (JRSS B 57): of the rejections, an expected
share of at most alpha is false, for independent or positively dependent tests.

Shape letters: M hypotheses. A NaN p-value (nothing known) stays NaN and still counts as a
hypothesis.
"""

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """(M,) p-values -> (M,) adjusted p-values: reject where one is at most alpha."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")  # NaN comes last
    stepped = p[order] * np.arange(len(p), 0, -1)
    return _restored(np.maximum.accumulate(stepped), order)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """(M,) p-values -> (M,) q-values: the smallest false discovery rate that rejects each."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = p[order] * len(p) / np.arange(1, len(p) + 1)
    unknown = np.isnan(stepped)
    known = np.where(unknown, np.inf, stepped)
    monotone = np.minimum.accumulate(known[::-1])[::-1]
    return _restored(np.where(unknown, np.nan, monotone), order)


def _restored(adjusted: np.ndarray, order: np.ndarray) -> np.ndarray:
    restored = np.empty_like(adjusted)
    restored[order] = np.minimum(adjusted, 1)
    return restored
