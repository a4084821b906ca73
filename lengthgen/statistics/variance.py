"""A mean's uncertainty by seeds and by documents; an interval that holds with few seeds.

A table of values by seed and document is a two-way random layout without replicates: value = truth
+ seed + document + (seed x document). Its mean squares MS_s, MS_d, MS_sd have the expectations v_sd
+ D v_s, v_sd + S v_d and v_sd (v: variances). The mean has the variance v_s / S + v_d / D + v_sd /
(S D), estimated as (MS_s + max(MS_d - MS_sd, 0)) / (S D): never less than what the seeds alone
show. Searle, Casella and McCulloch 1992, Variance Components, chapter 4; the maximum as in Hillis
2007 (Statistics in Medicine 26), for readers and cases.

Interval: value +- c se, c being the mean of the Student quantiles with S - 1 and D - 1 degrees of
freedom, weighted by the two shares of the variance (Cochran and Cox 1957, Experimental Designs,
section 4.14). It is right where either share is all and too wide between: a 95 % interval covers 95
to 97.3 % with 3 seeds, 95 to 96 % with 10 (calibration.py). Satterthwaite's degrees of freedom
(`Spread.df`) give a narrower one that covers as little as 92 % with 3 seeds.

Shape letters: S seeds, A columns, D documents. Nats a token.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

BISECTIONS = 80
SMALLEST = 1e-30  # of the p-values that are told apart
SKEW = 2.0  # times the skewness that a sample shows: few documents show too little of it


@dataclass(frozen=True)
class MeanSquares:
    """(A,) each.

    Of one seed: seed and interaction are 0; of one document: document and interaction.
    """

    seed: np.ndarray
    document: np.ndarray
    interaction: np.ndarray
    n_seeds: int
    n_documents: int


@dataclass(frozen=True)
class Components:
    """Variances by seed, document and both (the rest), (A,) each, in nats^2. Never negative."""

    seed: np.ndarray
    document: np.ndarray
    interaction: np.ndarray


@dataclass(frozen=True)
class Spread:
    """The variance of a mean in its two parts, (A,) each, and the degrees of freedom of each.

    With one seed the seeds' part is 0: the interval is over documents, for that seed. skewness: of
    the mean, (A,) or 0, by which an interval is longer on one side (documents.py).
    """

    seed: np.ndarray
    document: np.ndarray
    seed_df: float | np.ndarray
    document_df: float | np.ndarray
    skewness: float | np.ndarray = 0.0

    def where(self, known: np.ndarray) -> "Spread":
        """The same, NaN in the columns that are not `known` (A,)."""
        return replace(
            self,
            seed=np.where(known, self.seed, np.nan),
            document=np.where(known, self.document, np.nan),
            skewness=np.where(known, self.skewness, np.nan),
        )

    @property
    def standard_error(self) -> np.ndarray:
        return np.sqrt(self.seed + self.document)

    def half_width(self, level: float) -> np.ndarray:
        return self.critical((1 - level) / 2) * self.standard_error

    def reach(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """(A,) each: how far an interval reaches below the mean, and above it."""
        tail = (1 - level) / 2
        return tuple(self._reach(tail, above) * self.standard_error for above in (False, True))

    def critical(self, tail: float | np.ndarray) -> np.ndarray:
        """(A,): standard errors beyond which `tail` (below 0.5) lies on one side."""
        total = self.seed + self.document
        # No variance at all: the share is 0 / 0, and either quantile times 0 is 0.
        none = np.where(np.asarray(self.seed_df) > 0, 1.0, 0.0)
        share = np.divide(
            self.seed, total, out=np.broadcast_to(none, total.shape).copy(), where=total > 0
        )
        seeds, documents = (
            np.where(np.asarray(df) > 0, -stdtrit(np.maximum(df, 1e-9), tail), 0.0)
            for df in (self.seed_df, self.document_df)
        )
        return share * seeds + (1 - share) * documents

    def tail(self, distance: np.ndarray, null_above: bool | np.ndarray = False) -> np.ndarray:
        """(A,): one-sided p of a mean `distance` (A,) away from the null; the inverse of `reach`.

        The null lies below the mean, or above it; a negative distance: beyond the mean.
        """
        distance, error = np.asarray(distance, np.float64), self.standard_error
        ratio = np.divide(
            np.abs(distance), error, out=np.where(distance == 0, 0.0, np.inf), where=error > 0
        )
        above = np.logical_xor(null_above, distance < 0)
        # In log p, so that a p-value of 1e-20 is found as well as one of 0.3.
        low, high = np.log([SMALLEST, 0.5])
        upper = np.exp(
            bisect(lambda log_p: ratio - self._reach(np.exp(log_p), above), low, high, len(ratio))
        )
        p = np.where(distance >= 0, upper, 1 - upper)
        return np.where(np.isnan(distance + error), np.nan, p)

    def _reach(self, tail: float | np.ndarray, above: bool | np.ndarray) -> np.ndarray:
        """(A,): standard errors to the end of the interval on one side."""
        critical = self.critical(tail)
        skewness = np.where(above, 1, -1) * np.asarray(self.skewness)
        return critical + SKEW * np.maximum(skewness, 0) / 6 * (1 + 2 * critical**2)

    @property
    def df(self) -> np.ndarray:
        """(A,): of the two parts as one variance (Satterthwaite 1946, Biometrics Bulletin 2)."""
        parts = [
            np.divide(part**2, df, out=np.zeros_like(part), where=np.asarray(df) > 0)
            for part, df in ((self.seed, self.seed_df), (self.document, self.document_df))
        ]
        total = parts[0] + parts[1]
        return np.divide(
            (self.seed + self.document) ** 2,
            total,
            out=np.full_like(self.seed, np.inf),
            where=total > 0,
        )


def mean_squares(table: np.ndarray) -> MeanSquares:
    """(S, A, D) values -> the mean squares of the two-way layout, by column."""
    n_seeds, _, n_documents = table.shape
    by_seed, by_document, mean = table.mean(axis=2), table.mean(axis=0), table.mean(axis=(0, 2))
    seed = n_documents * ((by_seed - mean) ** 2).sum(axis=0)
    document = n_seeds * ((by_document - mean[:, None]) ** 2).sum(axis=1)
    rest = ((table - by_seed[:, :, None] - by_document + mean[:, None]) ** 2).sum(axis=(0, 2))
    df = n_seeds - 1, n_documents - 1
    squares = ((seed, df[0]), (document, df[1]), (rest, df[0] * df[1]))
    parts = [sums / max(n, 1) for sums, n in squares]
    return MeanSquares(parts[0], parts[1], parts[2], n_seeds, n_documents)


def components(squares: MeanSquares) -> Components:
    """The variances behind the mean squares, at least 0. NaN with one seed or one document."""
    # An analysis of variance may give a negative component: 0 is then the better estimate.
    few = np.nan if min(squares.n_seeds, squares.n_documents) < 2 else 0.0
    seed = np.maximum(squares.seed - squares.interaction, 0) / squares.n_documents
    document = np.maximum(squares.document - squares.interaction, 0) / squares.n_seeds
    return Components(seed + few, document + few, squares.interaction + few)


def spread(squares: MeanSquares) -> Spread:
    """The variance of the mean of the table with these mean squares. NaN with one document."""
    n_seeds, n_documents = squares.n_seeds, squares.n_documents
    size = n_seeds * n_documents if n_documents > 1 else np.nan
    documents = np.maximum(squares.document - squares.interaction, 0)
    return Spread(squares.seed / size, documents / size, n_seeds - 1, n_documents - 1)


def expected(parts: Components, n_seeds: int, n_documents: int) -> Spread:
    """The variance of a mean over n_seeds x n_documents whose components are `parts`."""
    seed = parts.seed / n_seeds + parts.interaction / (n_seeds * n_documents)
    return Spread(seed, parts.document / n_documents, n_seeds - 1, n_documents - 1)


def bisect(
    function: Callable[[np.ndarray], np.ndarray],
    low: float | np.ndarray,
    high: float | np.ndarray,
    size: int,
) -> np.ndarray:
    """(size,): where `function` of all columns goes from below 0 at `low` to above at `high`."""
    low, high = (np.broadcast_to(end, size).astype(np.float64) for end in (low, high))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = function(middle) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2
