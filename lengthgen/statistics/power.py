"""The smallest difference that so many seeds and documents can show: for planning runs.

The minimum detectable difference is the true mean difference that the test of comparisons.py finds
(p at most alpha) with probability `power`: the noncentrality at which a Student t with
Satterthwaite's degrees of freedom passes the critical value, times the standard error. Variances
come from finished runs (variance.py). As three seeds say little about the seeds' variance,
`cautious` takes the upper limit of an 80 % one-sided interval of the mean squares (Kieser and
Wassmer 1996, Biometrical Journal 38), but never less than the plain figure: with two or three seeds
a larger share of the documents can lower the critical value by more than it adds to the variance.

Shape letters: A columns. Differences in nats a token.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri, nctdtrinc

from lengthgen.statistics import variance
from lengthgen.statistics.paired import Paired
from lengthgen.statistics.variance import Components, MeanSquares, Spread

ALPHA, POWER = 0.05, 0.8
CAUTION = 0.8  # confidence that a variance is not larger
GOAL = 0.005  # nats: what ten seeds and 200 documents should show


def minimum_detectable(
    parts: Components, n_seeds: int, n_documents: int, *, alpha: float = ALPHA, power: float = POWER
) -> np.ndarray:
    """(A,): the smallest difference found with probability `power`.

    NaN with one seed or document.
    """
    if min(n_seeds, n_documents) < 2:
        return np.full_like(parts.seed, np.nan)
    return detectable_with(variance.expected(parts, n_seeds, n_documents), alpha=alpha, power=power)


def detectable_with(spread: Spread, *, alpha: float = ALPHA, power: float = POWER) -> np.ndarray:
    """(A,): the smallest mean difference that a test finds with probability `power`."""
    error = spread.standard_error
    noncentrality = nctdtrinc(spread.df, 1 - power, spread.critical(alpha / 2))
    return np.where(error == 0, 0.0, noncentrality * error)


@dataclass(frozen=True)
class Seen:
    """What a comparison could have seen with its seeds and documents, (A,) each, in nats a token.

    detectable: the minimum detectable difference; with one seed over documents alone. cautious: the
    same, had it been lucky with its variances. parts, cautious: NaN with one seed.
    """

    parts: Components
    standard_error: np.ndarray
    detectable: np.ndarray
    cautious: np.ndarray


def of(paired: Paired) -> Seen:
    squares = variance.mean_squares(paired.table())
    likely = variance.components(squares)
    size = squares.n_seeds, squares.n_documents
    spread = variance.spread(squares) if min(size) < 2 else variance.expected(likely, *size)
    detectable = detectable_with(spread)
    cautious = minimum_detectable(variance.components(_upper(squares)), *size)
    return Seen(likely, spread.standard_error, detectable, np.maximum(detectable, cautious))


def table(pilot: Paired, column: int, seeds: Iterable[int], documents: Iterable[int]) -> list[dict]:
    """A row for each number of seeds and documents, from one column of a pilot.

    Columns: as in Seen; reaches_goal: detectable is at most GOAL. The pilot needs two seeds.
    """
    squares = variance.mean_squares(pilot.table()[:, column : column + 1])
    likely, cautious = variance.components(squares), variance.components(_upper(squares))
    documents = list(documents)
    return [
        _row(likely, cautious, n_seeds, n_documents)
        for n_seeds in seeds
        for n_documents in documents
    ]


def _row(likely: Components, cautious: Components, n_seeds: int, n_documents: int) -> dict:
    detectable = [
        float(minimum_detectable(parts, n_seeds, n_documents)[0]) for parts in (likely, cautious)
    ]
    return {
        "n_seeds": n_seeds,
        "n_documents": n_documents,
        "standard_error": float(variance.expected(likely, n_seeds, n_documents).standard_error[0]),
        "detectable": detectable[0],
        "cautious": float(np.maximum(detectable[0], detectable[1])),
        "reaches_goal": detectable[0] <= GOAL,
    }


def _upper(squares: MeanSquares) -> MeanSquares:
    """The mean squares of seeds and documents at the upper end of their intervals (chi squared)."""
    df = squares.n_seeds - 1, squares.n_documents - 1
    seed, document = (n / chdtri(n, CAUTION) if n else np.nan for n in df)
    return replace(squares, seed=squares.seed * seed, document=squares.document * document)
