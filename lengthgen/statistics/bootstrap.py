"""Means and intervals of losses; the document is the resampling unit, and seeds and documents are resampled together.

The estimator is a ratio: sum of the loss over every scored token / number of scored tokens. A token's neighbours share its
document's difficulty, so tokens are not independent: with an intra-document correlation of 0.05 and 1,024 tokens a document a
95 % interval from tokens covers the truth about 21 % of the time, one from documents about 94 % (calibration.py).
Perplexity is exp(mean loss) and its bounds are the exp of the loss's bounds; perplexities are never averaged (Jensen).

What these intervals are good for: the spread over documents. The bootstrap's variance of the seeds is (S - 1) / S of what it
should be and it knows no Student t, so with less than about ten seeds that differ its intervals are too narrow (with three, and
seeds that matter, they cover about 80 %). A claim about schemes uses the interval of comparisons.py.

Sources: Miller 2024 (arXiv 2411.00640: cluster by document, pair the differences); Sellam et al., ICLR 2022
(arXiv 2106.16163: the multi-bootstrap over seeds and test items); Owen 2007, Annals of Applied Statistics 1 (resampling rows and
columns: their interaction counts up to three times); Efron and Tibshirani 1993, chapter 14 (percentile and BCa intervals; seeds
and documents are two samples, as scipy.stats.bootstrap has them). Intervals are percentile intervals unless BCa is asked for.

Shape letters: S seeds, A evaluation lengths, D documents, R resamples, N scored tokens. Losses in nats.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95  # of every interval
N_RESAMPLES = 10_000
CHUNK = 2**22  # numbers held at once: bounds the memory with many documents or lengths
DIFFER = 0.1  # of the percentile interval's width: two intervals whose bounds differ by more do not agree
NORMAL = NormalDist()


@dataclass(frozen=True)
class Bootstrap:
    """A mean for each length and the same mean in every resample.

    value: (A,). samples: (R, A): row r holds one draw of seeds and documents, the same draw for all lengths, so that a
    difference of two columns is paired. left_out: for every kind of unit that is resampled (seeds, documents), (n, A): the mean
    without that unit. All in nats a token (or the unit of the totals given).
    """

    value: np.ndarray
    samples: np.ndarray
    left_out: tuple[np.ndarray, ...] = ()

    def change(self, reference: int) -> "Bootstrap":
        """Paired differences from the length with index `reference` (same seeds, same documents in every resample)."""
        column = slice(reference, reference + 1)
        left_out = tuple(values - values[:, column] for values in self.left_out)
        return Bootstrap(
            self.value - self.value[column], self.samples - self.samples[:, column], left_out
        )

    def bounds(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (A,): the percentile interval. NaN where there is none to give."""
        low, high = np.full_like(self.value, np.nan), np.full_like(self.value, np.nan)
        for column, drawn in enumerate(self.samples.T):
            drawn = drawn[np.isfinite(drawn)]
            if drawn.size:
                low[column], high[column] = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        return low, high

    def bca(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (A,): the bias-corrected and accelerated interval; the percentile interval where it degenerates.

        It does where the value lies outside its own resamples, or where no unit changes anything.
        """
        low, high = self.bounds(level)
        acceleration = _acceleration(self.left_out, len(self.value))
        for column, drawn in enumerate(self.samples.T):
            drawn = drawn[np.isfinite(drawn)]
            below = (
                np.mean([drawn < self.value[column], drawn <= self.value[column]])
                if drawn.size
                else 0.0
            )
            if 0 < below < 1 and np.isfinite(acceleration[column]):
                ends = [
                    _moved(tail, NORMAL.inv_cdf(below), acceleration[column])
                    for tail in ((1 - level) / 2, (1 + level) / 2)
                ]
                low[column], high[column] = np.quantile(drawn, ends)
        return low, high


def differ(
    percentile: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """(A,) bool: a bound of `other` lies further than DIFFER of the percentile interval's width from the percentile bound."""
    allowed = DIFFER * (percentile[1] - percentile[0])
    return np.any([np.abs(a - b) > allowed for a, b in zip(percentile, other, strict=True)], axis=0)


def token_mean(loss_sum: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
    """Token-weighted mean over the last axis (documents): (..., D) -> (...). NaN where no token was scored."""
    total, weight = (
        np.sum(loss_sum, axis=-1, dtype=np.float64),
        np.sum(n_tokens, axis=-1, dtype=np.float64),
    )
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def bootstrap(
    loss_sum: np.ndarray, n_tokens: np.ndarray, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Bootstrap:
    """Ratio means and their resamples: documents (one run), or seeds and documents together (several).

    loss_sum, n_tokens: (D,), (A, D) or (S, A, D). A document is the same text for every seed and length, so one draw of
    documents serves all of them. A document without scored tokens has 0 in both. With one seed only documents are
    resampled. Deterministic: `seed` seeds the draws, and the same D and S give the same draws for every scheme. Give the documents
    in the order of their names, as tables.py does: then a run and a summary of that run have the same interval.
    A length with fewer than two scored documents, or a non-finite loss, gets no samples (NaN): its spread is unknown, not zero.
    """
    total, weight = _three_axes(loss_sum), _three_axes(n_tokens)
    if total.shape != weight.shape:
        raise ValueError(
            f"loss_sum has shape {total.shape} and n_tokens {weight.shape}; expected the same"
        )
    _, n_lengths, n_documents = total.shape
    finite = np.isfinite(total).all(axis=(0, 2))
    scored = (weight.sum(axis=0) > 0).sum(axis=-1)  # (A,) documents with a scored token
    total = np.where(finite[:, None], total, 0.0)
    value = token_mean(
        total.transpose(1, 0, 2).reshape(n_lengths, -1),
        weight.transpose(1, 0, 2).reshape(n_lengths, -1),
    )

    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // max(n_documents, total.shape[0] * n_lengths, 1))
    chunks = [min(rows, n_resamples - first) for first in range(0, n_resamples, rows)]
    samples = np.concatenate([_resample(total, weight, size, generator) for size in chunks])
    value[~finite] = np.nan
    samples[:, ~finite | (scored < 2)] = np.nan
    return Bootstrap(value, samples, _left_out(total, weight))


def multiplicities(n_units: int, n_resamples: int, generator: np.random.Generator) -> np.ndarray:
    """(R, n_units) float64: how often each unit is drawn when n_units are drawn with replacement. Rows sum to n_units."""
    drawn = generator.integers(n_units, size=(n_resamples, n_units))
    drawn += n_units * np.arange(n_resamples)[:, None]
    return (
        np.bincount(drawn.ravel(), minlength=n_resamples * n_units)
        .reshape(n_resamples, n_units)
        .astype(np.float64)
    )


def _resample(
    total: np.ndarray, weight: np.ndarray, size: int, generator: np.random.Generator
) -> np.ndarray:
    """(S, A, D) twice -> (size, A): one ratio for each draw of documents and seeds."""
    n_seeds, n_lengths, n_documents = total.shape
    documents = multiplicities(n_documents, size, generator)  # (size, D)
    seeds = (
        multiplicities(n_seeds, size, generator)[:, :, None] if n_seeds > 1 else 1.0
    )  # (size, S, 1)

    def drawn(values: np.ndarray) -> np.ndarray:
        by_seed = (documents @ values.reshape(n_seeds * n_lengths, n_documents).T).reshape(
            size, n_seeds, n_lengths
        )
        return (seeds * by_seed).sum(axis=1)

    sums, counts = drawn(total), drawn(weight)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _left_out(total: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """(S, A, D) twice -> the ratio without each seed (S, A), if there are several, and without each document (D, A)."""
    seeds, documents = (
        (total.sum(axis=2), weight.sum(axis=2)),
        (total.sum(axis=0).T, weight.sum(axis=0).T),
    )
    return tuple(
        _without(sums, counts)
        for sums, counts in ((seeds, documents) if len(total) > 1 else (documents,))
    )


def _without(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n, A) twice -> (n, A): the ratio of the totals without row n. NaN where nothing is left."""
    sums, counts = sums.sum(axis=0) - sums, counts.sum(axis=0) - counts
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _acceleration(left_out: tuple[np.ndarray, ...], n_lengths: int) -> np.ndarray:
    """(A,): BCa's acceleration, each kind of unit a sample of its own. NaN where no unit changes the value."""
    cubes, squares = np.zeros((2, n_lengths))
    for values in left_out:
        influence = (values.mean(axis=0) - values) * (len(values) - 1) / len(values)
        cubes, squares = cubes + (influence**3).sum(axis=0), squares + (influence**2).sum(axis=0)
    return np.divide(cubes, 6 * squares**1.5, out=np.full(n_lengths, np.nan), where=squares > 0)


def _moved(tail: float, bias: float, acceleration: float) -> float:
    """Which quantile of the resamples stands for the quantile `tail`; bias: z0, in standard deviations."""
    shifted = bias + NORMAL.inv_cdf(tail)
    return NORMAL.cdf(bias + shifted / (1 - acceleration * shifted))


def _three_axes(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if not 1 <= values.ndim <= 3:
        raise ValueError(
            f"got {values.ndim} axes; expected documents, (lengths, documents) or (seeds, lengths, documents)"
        )
    return values.reshape((1,) * (3 - values.ndim) + values.shape)
