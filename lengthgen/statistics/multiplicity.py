"""Many hypotheses at once: Holm for the few that were declared, Benjamini and Hochberg for all others.

Holm 1979 (Scandinavian Journal of Statistics 6): the chance of any false rejection stays at alpha, whatever the tests share.
Benjamini and Hochberg 1995 (JRSS B 57): of the rejections, an expected share of at most alpha is false, for independent or positively
dependent tests.

Shape letters: M hypotheses. A p-value that is NaN (nothing known) stays NaN and still counts as a hypothesis.
"""

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """(M,) p-values -> (M,) adjusted p-values: reject where one is at most alpha."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")  # NaN comes last
    stepped = p[order] * np.arange(len(p), 0, -1)
    return _restored(np.maximum.accumulate(stepped), order)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """(M,) p-values -> (M,) q-values: the smallest false discovery rate at which each is still rejected."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = p[order] * len(p) / np.arange(1, len(p) + 1)
    known = np.where(np.isnan(stepped), np.inf, stepped)
    return _restored(
        np.where(np.isnan(stepped), np.nan, np.minimum.accumulate(known[::-1])[::-1]), order
    )


def _restored(adjusted: np.ndarray, order: np.ndarray) -> np.ndarray:
    found = np.empty_like(adjusted)
    found[order] = np.minimum(adjusted, 1)
    return found
