"""The intervals of what is published: which one, from how many seeds and documents, and how it is called.

- Several seeds: the two-way Student interval (variance.py), for new seeds and new documents. The bootstrap of seeds and documents
  covers 77 to 87 % with three seeds that differ; this one 95 to 97 % (calibration.py).
- One seed: documents resampled, the interval that the run's own lengths.csv has. It says nothing about other seeds.

scipy, which the Student quantiles need, is imported where they are: `lengthgen plot` starts without it.

Shape letters: S seeds, A evaluation lengths, D documents, N bins of positions. Losses in nats.
"""

from dataclasses import dataclass, field

import numpy as np

from lengthgen.statistics import bootstrap

SEVERAL = "two-way Student over seeds and documents"
ONE = "documents resampled, for that one seed"


@dataclass(frozen=True)
class Means:
    """(A,) each, in nats a token: a mean and its 95 % interval, NaN for what is not known."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def unknown(cls, n_lengths: int) -> "Means":
        return cls(*np.full((3, n_lengths), np.nan))

    def put(
        self, columns: np.ndarray, value: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> None:
        self.value[columns], self.low[columns], self.high[columns] = value, low, high


@dataclass(frozen=True)
class Summed:
    """Loss sums and token counts, (S, A, D) each; 0 in both where a seed or a document has nothing at a length.

    One seed's resamples are drawn once and serve the losses and their changes.
    """

    loss_sum: np.ndarray
    n_tokens: np.ndarray
    n_resamples: int = bootstrap.N_RESAMPLES
    seed: int = 0
    drawn: dict[int, bootstrap.Bootstrap] = field(default_factory=dict)

    def losses(self) -> Means:
        """The mean loss at each length, of the seeds that have one there. DataError where seeds scored other targets."""
        return self._means(None, np.ones(self.n_tokens.shape[1], bool))

    def changes(self, reference: int) -> Means:
        """Each length minus the one with index `reference`, paired: of the seeds that have both, where the targets are the same."""
        there = self._scored()
        both = there & there[:, [reference]]
        equal = (self.n_tokens == self.n_tokens[:, [reference]]).all(axis=2)
        return self._means(reference, both.any(axis=0) & (equal | ~both).all(axis=0))

    def _scored(self) -> np.ndarray:
        """(S, A): has the seed a value at the length?"""
        return self.n_tokens.sum(axis=2) > 0

    def _means(self, reference: int | None, wanted: np.ndarray) -> Means:
        """Lengths that the same seeds have are estimated together. wanted: (A,) bool."""
        there = self._scored()
        there = there if reference is None else there & there[:, [reference]]
        found = Means.unknown(there.shape[1])
        for seeds in np.unique(there.T, axis=0):
            columns = np.flatnonzero(wanted & (seeds == there.T).all(axis=1))
            if seeds.any() and len(columns):
                estimate = self._of_one if seeds.sum() == 1 else self._of_several
                found.put(columns, *estimate(np.flatnonzero(seeds), columns, reference))
        return found

    def _of_one(
        self, seeds: np.ndarray, columns: np.ndarray, reference: int | None
    ) -> tuple[np.ndarray, ...]:
        (row,) = seeds
        if row not in self.drawn:
            self.drawn[row] = bootstrap.bootstrap(
                self.loss_sum[row], self.n_tokens[row], n_resamples=self.n_resamples, seed=self.seed
            )
        drawn = self.drawn[row] if reference is None else self.drawn[row].change(reference)
        return tuple(values[columns] for values in (drawn.value, *drawn.bounds()))

    def _of_several(
        self, seeds: np.ndarray, columns: np.ndarray, reference: int | None
    ) -> tuple[np.ndarray, ...]:
        from lengthgen.statistics import comparisons

        sums, tokens = (values[np.ix_(seeds, columns)] for values in (self.loss_sum, self.n_tokens))
        before = (
            np.zeros_like(sums)
            if reference is None
            else np.broadcast_to(self.loss_sum[seeds][:, [reference]], sums.shape)
        )
        found = comparisons.estimate(comparisons.difference(sums, before, tokens, tokens))
        return found.value, found.low, found.high


def of_bins(
    value: np.ndarray,
    between: np.ndarray,
    width: np.ndarray,
    n_seeds: np.ndarray,
    n_documents: np.ndarray,
) -> np.ndarray:
    """(2, N): low and high of means over several seeds, where only each seed's mean and its interval over documents are known.

    value: the mean over seeds; between: the variance of the seeds' values; width: the root mean square width of the seeds' intervals.
    The documents' share is taken whole from those, without what more seeds take off the interaction: a little too wide, never too narrow.
    """
    from lengthgen.statistics import variance

    bounds, tail = np.full((2, len(value)), np.nan), (1 - bootstrap.LEVEL) / 2
    error = width / (2 * bootstrap.NORMAL.inv_cdf(1 - tail))
    for seeds, documents in np.unique(np.stack([n_seeds, n_documents]), axis=1).T:
        rows = (n_seeds == seeds) & (n_documents == documents)
        if seeds > 1 and documents > 1:
            spread = variance.Spread(
                between[rows] / seeds, error[rows] ** 2, int(seeds) - 1, int(documents) - 1
            )
            half = spread.critical(tail) * spread.standard_error
            bounds[:, rows] = value[rows] - half, value[rows] + half
    return bounds


def words(n_seeds: np.ndarray) -> str:
    """What the intervals of rows with so many seeds are, for a figure or a page: `two-way Student over seeds and documents`."""
    n_seeds = np.asarray(n_seeds, np.float64)
    kinds = [(n_seeds > 1, SEVERAL), (n_seeds == 1, ONE)]
    return "; or, with one seed, ".join(said for which, said in kinds if which.any())
