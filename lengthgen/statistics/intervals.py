"""Intervals of published means of which only each seed's mean and interval are known; their names.

scipy is imported where Student's quantiles are needed: `lengthgen plot` starts without it.

Shape letters: N bins of positions. Losses in nats.
"""

import numpy as np

from lengthgen.statistics import bootstrap

SEVERAL = "two-way Student over seeds and documents"
ONE = "over documents, for that one seed"


def of_bins(
    value: np.ndarray,
    between: np.ndarray,
    width: np.ndarray,
    n_seeds: np.ndarray,
    n_documents: np.ndarray,
) -> np.ndarray:
    """(2, N): low and high of means over several seeds, from each seed's mean and interval alone.

    value: the mean over seeds; between: the variance of the seeds' values; width: the root mean
    square width of the seeds' intervals over documents. The documents' share is taken whole from
    those, without what more seeds take off the interaction: a little too wide, never too narrow.
    """
    from lengthgen.statistics import variance

    bounds = np.full((2, len(value)), np.nan)
    error = width / (2 * bootstrap.Z)
    for seeds, documents in np.unique(np.stack([n_seeds, n_documents]), axis=1).T:
        rows = (n_seeds == seeds) & (n_documents == documents)
        if seeds > 1 and documents > 1:
            spread = variance.Spread(
                between[rows] / seeds, error[rows] ** 2, int(seeds) - 1, int(documents) - 1
            )
            half = spread.half_width(bootstrap.LEVEL)
            bounds[:, rows] = value[rows] - half, value[rows] + half
    return bounds


def words(n_seeds: np.ndarray) -> str:
    """What to call the intervals of rows with these numbers of seeds."""
    n_seeds = np.asarray(n_seeds, np.float64)
    kinds = [(n_seeds > 1, SEVERAL), (n_seeds == 1, ONE)]
    return "; or, with one seed, ".join(name for rows, name in kinds if rows.any())
