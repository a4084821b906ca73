"""Tests of a paired difference: Student's t and the exact sign flip over seeds, and equivalence.

The two tests over seeds hold the documents fixed: would other seeds give a difference on *these*
documents? The p-value of a comparison (comparisons.py) asks it of new documents too. Sources:
Fisher 1935, The Design of Experiments, section 21 (sign flip); Phipson and Smyth 2010 (arXiv
1603.05766: (c + 1) / (n + 1) for sampled flips); Schuirmann 1987 (equivalence by two one-sided
tests).

Shape letters: S seeds, A columns. Differences in nats a token.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from lengthgen.statistics.comparisons import Estimate
from lengthgen.statistics.thresholds import DELTA

EXACT_UP_TO = 16  # seeds: 65,536 sign patterns
N_FLIPS = 100_000  # sampled patterns beyond that
ROUNDING = 1e-9  # relative: a flipped sum this close to the observed one is a tie


@dataclass(frozen=True)
class SignFlip:
    """p: (A,), two-sided.

    smallest: (A,), the smallest p of so many seeds (0.25 of 3, 0.031 of 6).
    """

    p: np.ndarray
    smallest: np.ndarray
    exact: bool


def paired_t(seed_values: np.ndarray) -> np.ndarray:
    """(S, A) differences by seed -> (A,): two-sided p of a mean of 0.

    NaN with one seed; 1 if all are 0.
    """
    n_seeds = len(seed_values)
    if n_seeds < 2:
        return np.full(seed_values.shape[1], np.nan)
    mean, error = seed_values.mean(axis=0), seed_values.std(axis=0, ddof=1) / np.sqrt(n_seeds)
    ratio = np.divide(
        mean, error, out=np.where(mean == 0, 0.0, np.inf), where=(error > 0) | np.isnan(error)
    )
    return 2 * stdtr(n_seeds - 1, -np.abs(ratio))


def sign_flip(seed_values: np.ndarray, *, n_flips: int = N_FLIPS, seed: int = 0) -> SignFlip:
    """(S, A) differences by seed: how often is a sum with random signs as large?

    Exact up to 16 seeds, sampled beyond. Assumes that without a difference each seed's value is as
    likely to have the other sign: true of two arms that only differ by name.
    """
    n_seeds = len(seed_values)
    exact = n_seeds <= EXACT_UP_TO
    if exact:
        # The last sign stays: turning all signs gives the same size.
        patterns = np.arange(2 ** (n_seeds - 1))[:, None]
        signs = 1.0 - 2.0 * ((patterns >> np.arange(n_seeds)) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n_flips, n_seeds))
    # Sums of floats in another order differ in their last bits: a tie must count as reached.
    observed = np.abs(seed_values.sum(axis=0))
    scale = np.abs(seed_values).sum(axis=0)
    reached = (np.abs(signs @ seed_values) >= observed - ROUNDING * scale).sum(axis=0)
    p = reached / len(signs) if exact else (reached + 1) / (len(signs) + 1)
    # A zero has no sign to flip.
    smallest = 2.0 ** (1 - np.count_nonzero(seed_values, axis=0).clip(1))
    unknown = np.isnan(scale)
    smallest = smallest if exact else np.maximum(smallest, 1 / (n_flips + 1))
    return SignFlip(np.where(unknown, np.nan, p), np.where(unknown, np.nan, smallest), exact)


def equivalence(estimate: Estimate, delta: float = DELTA) -> np.ndarray:
    """(A,): p of `the difference is delta or more, one way or the other` (two one-sided tests).

    At most 0.05 exactly where the 90 % interval lies inside (-delta, delta).
    """
    return np.maximum(
        estimate.spread.tail(delta - estimate.value, null_above=True),
        estimate.spread.tail(estimate.value + delta),
    )
