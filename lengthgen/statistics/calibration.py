"""How often are the intervals and tests right? Simulated comparisons whose truth is known.

Simulated are paired differences by seed and document, normal in seeds, documents and their
interaction (or with skewed documents), of the sizes of trained runs (SETTINGS); half of the
documents have twice the tokens. Aims: 95 % intervals that cover 93 to 97 %; tests that reject 2 to
8 % of the comparisons of a scheme with itself.

Shape letters: S seeds, N simulated comparisons, D documents.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import ndtri, stdtrit

from lengthgen.statistics import comparisons, significance, variance
from lengthgen.statistics.losses import Losses
from lengthgen.statistics.paired import Paired

AT_ONCE = 100  # comparisons that share the bootstrap's draws


@dataclass(frozen=True)
class Setting:
    """Standard deviations of the paired difference by seed, document and both, nats a token."""

    seed: float
    document: float
    interaction: float
    skewed: bool = False  # documents: exponential instead of normal


SETTINGS = {
    # About t5_bias against alibi at four times the training length, tiny model.
    "balanced": Setting(0.010, 0.041, 0.039),
    "seeds differ": Setting(0.030, 0.040, 0.040),
    "documents differ": Setting(0.003, 0.160, 0.035),
    "skewed documents": Setting(0.003, 0.160, 0.035, skewed=True),
    # Only the seeds differ: no document effect in the difference.
    "same scheme": Setting(0.010, 0.0, 0.040),
}
TRUTH = 0.03  # nats
# Effects of documents, of mean 0 and variance 1.
SIGMA = 0.75  # of the lognormal's logarithm: a skewness of 3.3
SKEWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "exponential": lambda generator, shape: generator.exponential(size=shape) - 1,
    "lognormal": lambda generator, shape: (
        (np.exp(SIGMA * generator.normal(size=shape)) - np.exp(SIGMA**2 / 2))
        / np.sqrt((np.exp(SIGMA**2) - 1) * np.exp(SIGMA**2))
    ),
}


def table(
    *,
    n_sets: int = 1000,
    n_resamples: int = 2000,
    seeds: Sequence[int] = (3, 5, 10),
    documents: Sequence[int] = (48, 200),
    seed: int = 0,
) -> list[dict]:
    """Coverage: a row for each setting, number of seeds and documents, and method.

    covered: the share of the 95 % intervals that hold the truth; error: its standard error; width:
    mean, nats. Some minutes with the defaults.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for (name, setting), n_seeds, n_documents in product(SETTINGS.items(), seeds, documents):
        cell = {"setting": name, "n_seeds": n_seeds, "n_documents": n_documents}
        covered = coverage(setting, n_seeds, n_documents, n_sets, n_resamples, generator)
        rows += [cell | row for row in covered]
    return rows


def coverage(
    setting: Setting,
    n_seeds: int,
    n_documents: int,
    n_sets: int,
    n_resamples: int,
    generator: np.random.Generator,
) -> list[dict]:
    """The rows of `table` for one setting: one for each method."""
    bounds: dict[str, list[np.ndarray]] = {}
    for first in range(0, n_sets, AT_ONCE):
        paired = simulated(setting, n_seeds, min(AT_ONCE, n_sets - first), n_documents, generator)
        for method, low, high in _intervals(paired, n_resamples, int(generator.integers(2**31))):
            bounds.setdefault(method, []).append(np.stack([low, high]))
    return [_row(method, np.concatenate(parts, axis=1)) for method, parts in bounds.items()]


def simulated(
    setting: Setting, n_seeds: int, n_sets: int, n_documents: int, generator: np.random.Generator
) -> Paired:
    """Paired differences whose mean is TRUTH, a comparison in each column."""
    shape = (n_sets, n_documents)
    n_tokens = _tokens(shape)
    if setting.skewed:
        of_document = generator.exponential(size=shape) - 1
    else:
        of_document = generator.normal(size=shape)
    of_seed = generator.normal(size=(n_seeds, n_sets, 1))
    mean = TRUTH + setting.seed * of_seed + setting.document * of_document
    mean = mean + setting.interaction * generator.normal(size=(n_seeds, *shape))
    return Paired(mean * n_tokens, n_tokens)


def few_documents(
    *,
    n_sets: int = 2000,
    seeds: Sequence[int] = (1, 3, 5),
    documents: Sequence[int] = (5, 8, 12, 24, 48),
    seed: int = 0,
) -> list[dict]:
    """Coverage with few, unequal and skewed documents: a row for each skew, size and method.

    Documents of 1 to 16 blocks, their effects drawn by SKEWS with a standard deviation of 0.16
    nats, seeds of 0.01, both together 0.035; the tokens of a block have Student's distribution with
    3 degrees of freedom and its mean a standard deviation of 0.18. below, above: the share of the
    intervals that lie below the truth, and above it. Half a minute.
    """
    rows = []
    for skew, n_seeds, n_documents in product(SKEWS, seeds, documents):
        generator = np.random.default_rng([seed, n_seeds, n_documents])
        paired = _unequal(SKEWS[skew], n_seeds, n_sets, n_documents, generator)
        cell = {"skew": skew, "n_seeds": n_seeds, "n_documents": n_documents}
        for method, low, high in _of_few(paired):
            rows.append(cell | _row(method, np.stack([low, high]), sides=True))
    return rows


def _unequal(
    skew: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray],
    n_seeds: int,
    n_sets: int,
    n_documents: int,
    generator: np.random.Generator,
) -> Paired:
    """Paired differences whose mean is TRUTH, of documents of 1 to 16 blocks."""
    shape = n_sets, n_documents
    blocks = generator.integers(1, 17, size=shape)
    mean = TRUTH + 0.16 * skew(generator, shape)
    mean = mean + 0.01 * generator.normal(size=(n_seeds, n_sets, 1))
    mean = mean + 0.035 * generator.normal(size=(n_seeds, *shape))
    there = np.arange(16) < blocks[..., None]
    for of_seed in mean:
        tokens = np.where(there, generator.standard_t(3, size=(*shape, 16)), 0).sum(axis=-1)
        of_seed += 0.18 / np.sqrt(3) * tokens / blocks
    return Paired(mean * blocks, blocks.astype(np.float64))


def _of_few(paired: Paired) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The interval in use, and what it replaced."""
    estimate = comparisons.estimate(paired)
    yield "in use", estimate.low, estimate.high
    half = variance.spread(variance.mean_squares(paired.table())).half_width(0.95)
    yield "plain Student", estimate.value - half, estimate.value + half


def same_scheme(
    *,
    n_comparisons: int = 200,
    n_seeds: int = 10,
    n_documents: int = 48,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """How often each test at 0.05 sees a difference between two arms of one scheme (A/A).

    The arms have disjoint seeds and the same documents; their losses: 2 nats, documents +- 0.2,
    seeds +- 0.01, both +- 0.03.
    """
    generator = np.random.default_rng(seed)
    n_tokens = _tokens((n_comparisons, n_documents))
    documents = 2 + 0.2 * generator.normal(size=(n_comparisons, n_documents))
    shape = (n_seeds, n_comparisons, n_documents)

    def arm() -> Losses:
        of_seed = 0.01 * generator.normal(size=(n_seeds, n_comparisons, 1))
        loss = documents + of_seed + 0.03 * generator.normal(size=shape)
        return Losses.numbered(loss * n_tokens, np.broadcast_to(n_tokens, shape))

    paired = arm().minus(arm())
    rejected = {
        method: (low > 0) | (high < 0)
        for method, low, high in _intervals(paired, n_resamples, seed)
    }
    rejected["paired t"] = significance.paired_t(paired.seed_values) <= 0.05
    rejected["sign flip"] = significance.sign_flip(paired.seed_values).p <= 0.05
    return {test: float(np.mean(rejections)) for test, rejections in rejected.items()}


def tokens_as_independent(
    *,
    n_sets: int = 1000,
    n_documents: int = 100,
    n_tokens: int = 1024,
    correlation: float = 0.05,
    seed: int = 0,
) -> dict[str, float]:
    """Coverage of 95 % intervals of a mean: from tokens taken as independent, and from documents.

    Token losses have variance 1, of which `correlation` is between documents. The interval from
    tokens is the limit of a bootstrap of tokens; by theory it covers 21.4 % with the defaults.
    """
    generator = np.random.default_rng(seed)
    shape = (n_sets, n_documents)
    of_document = np.sqrt(correlation) * generator.normal(size=shape)
    # The sum of squares within each document, drawn without drawing its tokens.
    within = (1 - correlation) * generator.chisquare(n_tokens - 1, size=shape)
    means = of_document + np.sqrt((1 - correlation) / n_tokens) * generator.normal(size=shape)
    value, size = means.mean(axis=1), n_documents * n_tokens
    squares = within.sum(axis=1) + n_tokens * ((means - value[:, None]) ** 2).sum(axis=1)
    by_token = -ndtri(0.025) * np.sqrt(squares / (size - 1) / size)
    by_document = (
        -stdtrit(n_documents - 1, 0.025) * means.std(axis=1, ddof=1) / np.sqrt(n_documents)
    )
    return {
        "tokens": float(np.mean(np.abs(value) <= by_token)),
        "documents": float(np.mean(np.abs(value) <= by_document)),
    }


def _intervals(
    paired: Paired, n_resamples: int, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(method, low, high), (N,) each: first the interval of the verdicts, then others."""
    estimate = comparisons.estimate(paired)
    yield "two-way Student", estimate.low, estimate.high
    half = -stdtrit(estimate.spread.df, 0.025) * estimate.spread.standard_error
    yield "Satterthwaite", estimate.value - half, estimate.value + half
    drawn = comparisons.resampled(paired, n_resamples=n_resamples, seed=seed)
    yield "percentile", *drawn.bounds()
    yield "BCa", *drawn.bca()
    squares = variance.mean_squares(paired.table())
    alone = (
        ("seeds alone", squares.seed, squares.n_seeds - 1),
        ("documents alone", squares.document, squares.n_documents - 1),
    )
    for method, square, df in alone:
        half = -stdtrit(df, 0.025) * np.sqrt(square / (squares.n_seeds * squares.n_documents))
        yield method, estimate.value - half, estimate.value + half


def _tokens(shape: tuple[int, int]) -> np.ndarray:
    """(N, D): every other document has twice the tokens."""
    return np.broadcast_to(np.where(np.arange(shape[1]) % 2, 128.0, 256.0), shape)


def _row(method: str, bounds: np.ndarray, sides: bool = False) -> dict:
    """bounds: (2, N). sides: also the shares that miss the truth on each side."""
    covered = float(np.mean((bounds[0] <= TRUTH) & (bounds[1] >= TRUTH)))
    error = np.sqrt(covered * (1 - covered) / bounds.shape[1])
    missed = {
        "below": float(np.mean(bounds[1] < TRUTH)),
        "above": float(np.mean(bounds[0] > TRUTH)),
    }
    return (missed if sides else {}) | {
        "method": method,
        "covered": covered,
        "error": float(error),
        "width": float(np.mean(bounds[1] - bounds[0])),
        "n_sets": bounds.shape[1],
    }
