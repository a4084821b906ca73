"""A measured number: its interval, and p-values of lying above, below or within a threshold."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from lengthgen.statistics import comparisons, fails_or_uses, power, significance, variance
from lengthgen.statistics.paired import Paired


@dataclass(frozen=True)
class Mean:
    """A mean of paired differences, with its two-way 95 % interval (statistics/variance.py)."""

    paired: Paired

    @property
    def estimate(self) -> comparisons.Estimate:
        return comparisons.estimate(self.paired)

    @property
    def bounds(self) -> tuple[float, float, float]:
        """(value, low, high)"""
        estimate = self.estimate
        return float(estimate.value[0]), float(estimate.low[0]), float(estimate.high[0])

    def above(self, threshold: float) -> float:
        """One-sided p of `the truth is at most threshold`."""
        estimate = self.estimate
        return float(estimate.spread.tail(estimate.value - threshold)[0])

    def below(self, threshold: float) -> float:
        estimate = self.estimate
        return float(estimate.spread.tail(threshold - estimate.value, null_above=True)[0])

    def within(self, threshold: float) -> float:
        """p of `the truth is threshold or more from 0` (two one-sided tests)."""
        return float(significance.equivalence(self.estimate, threshold)[0])

    @property
    def detectable(self) -> float:
        """The smallest true difference that is found with probability 0.8; NaN with one seed."""
        squares = variance.mean_squares(self.paired.table())
        size = squares.n_seeds, squares.n_documents
        return float(power.minimum_detectable(variance.components(squares), *size)[0])

    @property
    def counts(self) -> tuple[int, int]:
        """Seeds, documents."""
        return self.paired.n_seeds, int((self.paired.n_tokens > 0).sum())


@dataclass(frozen=True)
class Share:
    """gain / reference, means over the same targets, with Fieller's interval.

    Nothing is claimed where the reference's 95 % interval is not above 0.
    """

    gain: Paired
    reference: Paired

    @property
    def bounds(self) -> tuple[float, float, float]:
        value, low, high = fails_or_uses.utilisation(self.gain, self.reference)
        return float(value[0]), float(low[0]), float(high[0])

    @property
    def _known(self) -> bool:
        return Mean(self.reference).bounds[1] > 0

    def _beyond(self, threshold: float) -> Mean:
        return Mean(self.gain.minus(self.reference, threshold))

    def above(self, threshold: float) -> float:
        return self._beyond(threshold).above(0.0) if self._known else 1.0

    def below(self, threshold: float) -> float:
        return self._beyond(threshold).below(0.0) if self._known else 1.0

    def within(self, threshold: float) -> float:
        return max(self.below(threshold), self.above(-threshold))

    @property
    def detectable(self) -> float:
        """As a share: of the linear form, over the reference."""
        return self._beyond(0.0).detectable / float(self.reference.value[0])

    @property
    def counts(self) -> tuple[int, int]:
        return Mean(self.gain).counts


@dataclass(frozen=True)
class Exact:
    """A number of each seed without sampling error: a claim holds for all of them or fails."""

    values: tuple[float, ...]

    @property
    def bounds(self) -> tuple[float, float, float]:
        return sum(self.values) / len(self.values), min(self.values), max(self.values)

    def above(self, threshold: float) -> float:
        return 0.0 if min(self.values) > threshold else 1.0

    def below(self, threshold: float) -> float:
        return 0.0 if max(self.values) < threshold else 1.0

    def within(self, threshold: float) -> float:
        return 0.0 if max(map(abs, self.values)) <= threshold else 1.0

    @property
    def detectable(self) -> float:
        return 0.0

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.values), 0


@dataclass(frozen=True)
class OfSeeds:
    """One number a seed, such as a share of its weights' variance: Student's t over the seeds."""

    values: tuple[float, ...]

    @property
    def _error(self) -> tuple[float, float, int]:
        """(mean, its standard error, degrees of freedom); NaN with one seed."""
        values = np.asarray(self.values, np.float64)
        if len(values) < 2:
            return float(values.mean()), math.nan, 1
        error = values.std(ddof=1) / math.sqrt(len(values))
        return float(values.mean()), float(error), len(values) - 1

    @property
    def bounds(self) -> tuple[float, float, float]:
        mean, error, df = self._error
        half = float(special.stdtrit(df, 0.975)) * error
        return mean, mean - half, mean + half

    def above(self, threshold: float) -> float:
        return self._tail(self._error[0] - threshold)

    def below(self, threshold: float) -> float:
        return self._tail(threshold - self._error[0])

    def within(self, threshold: float) -> float:
        return max(self.below(threshold), self.above(-threshold))

    def _tail(self, distance: float) -> float:
        """One-sided p of a mean that lies so far on the claimed side."""
        _, error, df = self._error
        if math.isnan(error):
            return 1.0
        return float(special.stdtr(df, -distance / max(error, 1e-300)))

    @property
    def detectable(self) -> float:
        _, error, df = self._error
        return float(special.nctdtrinc(df, 0.2, special.stdtrit(df, 0.975)) * error)

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.values), 0


Measured = Mean | Share | Exact | OfSeeds
