"""Means of losses with intervals from resampled documents, or seeds and documents together.

The estimator is a ratio: sum of the losses / number of scored tokens. Tokens of a document share
its difficulty, so the document is the unit: with an intra-document correlation of 0.05 and 1,024
tokens a document, a 95 % interval from tokens covers the truth 21 % of the time, one from documents
94 % (calibration.py). Perplexity is exp(mean loss), and so are its bounds; perplexities are never
averaged (Jensen).

For the spread over documents. The seeds' variance comes out as (S - 1) / S of what it should be,
without Student's t: with three seeds that differ it covers about 80 %. Claims about schemes use
comparisons.py.

Sources: Miller 2024 (arXiv 2411.00640: cluster by document, pair the differences); Sellam et al.,
ICLR 2022 (arXiv 2106.16163: the multi-bootstrap); Owen 2007, Annals of Applied Statistics 1
(resampling rows and columns counts their interaction up to three times); Efron and Tibshirani 1993,
chapter 14 (percentile and BCa intervals; two samples, as in scipy.stats.bootstrap).

Shape letters: S seeds, A evaluation lengths, D documents, R resamples. Losses in nats.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95  # of every interval
N_RESAMPLES = 10_000
CHUNK = 2**22  # numbers held at once: bounds the memory with many documents or lengths
NORMAL = NormalDist()
TAILS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
Z = NORMAL.inv_cdf(TAILS[1])  # 1.96


@dataclass(frozen=True)
class Bootstrap:
    """A mean for each length and the same mean in every resample.

    value: (A,). samples: (R, A), a row for each draw of seeds and documents, the same for all
    lengths, so that a difference of two columns is paired. left_out: for each kind of unit (seeds,
    documents), (n, A): the mean without unit n.
    """

    value: np.ndarray
    samples: np.ndarray
    left_out: tuple[np.ndarray, ...] = ()

    def change(self, reference: int) -> "Bootstrap":
        """Paired differences from the length with index `reference`."""
        column = slice(reference, reference + 1)
        left_out = tuple(values - values[:, column] for values in self.left_out)
        return Bootstrap(
            self.value - self.value[column], self.samples - self.samples[:, column], left_out
        )

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (A,): the percentile interval. NaN where it is not known."""
        low, high = np.full_like(self.value, np.nan), np.full_like(self.value, np.nan)
        for column, drawn in enumerate(self.samples.T):
            drawn = drawn[np.isfinite(drawn)]
            if drawn.size:
                low[column], high[column] = np.quantile(drawn, TAILS)
        return low, high

    def bca(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (A,): the bias-corrected and accelerated interval.

        The percentile interval where the value lies outside its resamples or no unit changes it.
        """
        low, high = self.bounds()
        acceleration = _acceleration(self.left_out, len(self.value))
        for column, drawn in enumerate(self.samples.T):
            drawn = drawn[np.isfinite(drawn)]
            value, below = self.value[column], 0.0
            if drawn.size:
                below = np.mean([drawn < value, drawn <= value])  # ties count half
            if 0 < below < 1 and np.isfinite(acceleration[column]):
                bias = NORMAL.inv_cdf(below)
                ends = [_moved(tail, bias, acceleration[column]) for tail in TAILS]
                low[column], high[column] = np.quantile(drawn, ends)
        return low, high


def token_mean(loss_sum: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
    """Mean over documents by tokens, (..., D) -> (...). NaN where no token was scored."""
    sums = (np.sum(each, axis=-1, dtype=np.float64) for each in (loss_sum, n_tokens))
    return ratio(*map(np.asarray, sums))


def ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """sums / counts, broadcast to the sums; NaN where a count is 0."""
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def bootstrap(
    loss_sum: np.ndarray, n_tokens: np.ndarray, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Bootstrap:
    """Ratio means and their resamples: of documents (one seed) or seeds and documents.

    loss_sum, n_tokens: (D,), (A, D) or (S, A, D), 0 in both for a document without scored tokens.
    `seed`, D and S give the same draws for every scheme and length. Sort the documents by name, as
    losses.py does: a run and a summary of it then have the same interval. A length with fewer than
    two scored documents, or a loss that is not finite, has NaN samples: its spread is unknown, not
    zero.
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
    by_length = (each.transpose(1, 0, 2).reshape(n_lengths, -1) for each in (total, weight))
    value = token_mean(*by_length)

    # The draws come from one stream, so that chunks of another size give the same ones.
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // max(n_documents, total.shape[0] * n_lengths, 1))
    chunks = [min(rows, n_resamples - first) for first in range(0, n_resamples, rows)]
    samples = np.concatenate([_resample(total, weight, size, generator) for size in chunks])
    value[~finite] = np.nan
    samples[:, ~finite | (scored < 2)] = np.nan
    return Bootstrap(value, samples, _left_out(total, weight))


def multiplicities(n_units: int, n_resamples: int, generator: np.random.Generator) -> np.ndarray:
    """(R, n_units) float64: how often each unit is drawn in n_units draws with replacement."""
    drawn = generator.integers(n_units, size=(n_resamples, n_units))
    # One bincount for all rows: each row counts in a range of its own.
    drawn += n_units * np.arange(n_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n_units)
    return counts.reshape(n_resamples, n_units).astype(np.float64)


def _resample(
    total: np.ndarray, weight: np.ndarray, size: int, generator: np.random.Generator
) -> np.ndarray:
    """(S, A, D) twice -> (size, A): one ratio for each draw of documents and seeds."""
    n_seeds, n_lengths, n_documents = total.shape
    documents = multiplicities(n_documents, size, generator)  # (size, D)
    seeds: np.ndarray | float = 1.0
    if n_seeds > 1:
        seeds = multiplicities(n_seeds, size, generator)[:, :, None]

    def drawn(values: np.ndarray) -> np.ndarray:
        by_seed = documents @ values.reshape(n_seeds * n_lengths, n_documents).T
        return (seeds * by_seed.reshape(size, n_seeds, n_lengths)).sum(axis=1)

    return ratio(drawn(total), drawn(weight))


def _left_out(total: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """(S, A, D) twice -> the ratio without each seed (S, A), if several, and document (D, A)."""
    documents = _without(total.sum(axis=0).T, weight.sum(axis=0).T)
    if len(total) == 1:
        return (documents,)
    return _without(total.sum(axis=2), weight.sum(axis=2)), documents


def _without(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n, A) twice -> (n, A): the ratio of the totals without row n. NaN where nothing is left."""
    return ratio(sums.sum(axis=0) - sums, counts.sum(axis=0) - counts)


def _acceleration(left_out: tuple[np.ndarray, ...], n_lengths: int) -> np.ndarray:
    """(A,): BCa's acceleration. NaN where no unit changes the value."""
    # Efron and Tibshirani 1993, equation 14.15, with the influences of seeds and documents pooled.
    cubes, squares = np.zeros((2, n_lengths))
    for values in left_out:
        influence = (values.mean(axis=0) - values) * (len(values) - 1) / len(values)
        cubes, squares = cubes + (influence**3).sum(axis=0), squares + (influence**2).sum(axis=0)
    return np.divide(cubes, 6 * squares**1.5, out=np.full(n_lengths, np.nan), where=squares > 0)


def _moved(tail: float, bias: float, acceleration: float) -> float:
    """The quantile of the resamples that stands for `tail`; bias: z0, in standard deviations."""
    shifted = bias + NORMAL.inv_cdf(tail)
    return NORMAL.cdf(bias + shifted / (1 - acceleration * shifted))


def _three_axes(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if not 1 <= values.ndim <= 3:
        raise ValueError(
            f"got {values.ndim} axes; expected documents, (lengths, documents) or "
            "(seeds, lengths, documents)"
        )
    return values.reshape((1,) * (3 - values.ndim) + values.shape)
