"""Tests over seeds against enumeration, scipy and hand figures.

Equivalence against its interval.
"""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from lengthgen.statistics import comparisons, significance
from lengthgen.statistics.paired import Paired


def column(*values):
    return np.array(values)[:, None]


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ((1.0, 2.0, 3.0), 2 / 8),  # all of one sign: only it and its mirror image
        ((-1.0, 2.0, 3.0), 4 / 8),  # sums 4, 6 and their mirror images
        ((1.0, 2.0, -3.0), 1.0),  # the sum is 0
        ((1.0, 1.0, 1.0, -1.0), 10 / 16),  # |sum| >= 2: all but the six with two of each sign
        ((0.5, 1.0, 2.0, 4.0, 8.0), 2 / 32),
        ((-0.5, 1.0, 2.0, 4.0, 8.0), 4 / 32),
        ((-1.0, 2.0, 4.0, 8.0, 16.0, 32.0), 4 / 64),
        ((1.0, -2.0, 4.0, 8.0, 16.0, 32.0), 6 / 64),  # 59, 61, 63
    ],
)
def test_sign_flip_by_hand(values, p):
    found = significance.sign_flip(column(*values))
    assert found.p == pytest.approx([p]) and found.exact
    assert found.smallest == pytest.approx([2 / 2 ** len(values)])


@pytest.mark.parametrize("n", [2, 3, 7, 9])
def test_sign_flip_against_enumeration_and_scipy(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in product((-1, 1), repeat=n)
    ]
    expected = np.mean([total >= abs(values.sum()) - 1e-12 for total in sums])
    found = significance.sign_flip(values[:, None]).p[0]
    assert found == pytest.approx(expected)
    oracle = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert found == pytest.approx(oracle.pvalue)


def test_sign_flip_knows_ties_zeros_and_what_is_missing():
    found = significance.sign_flip(
        np.array([[0.1, 0.0, 0.0, np.nan], [0.1, 0.0, 2.0, 1.0], [0.1, 0.0, 3.0, 1.0]])
    )
    assert found.p[:3] == pytest.approx([0.25, 1, 0.5])
    assert found.smallest[:3] == pytest.approx(
        [0.25, 1, 0.5]
    )  # a zero has no sign: two seeds are left
    assert np.isnan(found.p[3]) and np.isnan(found.smallest[3])


def test_more_than_sixteen_seeds_are_sampled():
    values = np.random.default_rng(0).normal(0.35, 1, (17, 1))
    found = significance.sign_flip(values, n_flips=20_000)
    again = significance.sign_flip(values, n_flips=20_000)
    assert not found.exact and found.p == again.p and found.smallest == pytest.approx([1 / 20_001])
    assert found.p[0] == pytest.approx(stats.ttest_1samp(values[:, 0], 0).pvalue, abs=0.02)
    assert significance.sign_flip(np.ones((17, 1)), n_flips=1000).p == pytest.approx(
        [1 / 1001]
    )  # never 0
    assert significance.sign_flip(np.ones((16, 1))).p == pytest.approx([2 / 2**16])


def test_paired_t_against_scipy():
    values = np.random.default_rng(1).normal(0.4, 1, (6, 3))
    assert significance.paired_t(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert np.isnan(significance.paired_t(values[:1])).all()
    assert significance.paired_t(np.array([[0.0, 1.0], [0.0, 1.0]])).tolist() == [1, 0]


def test_equivalence_by_hand():
    """Mean 0, error 1 / sqrt(20), 19 degrees of freedom: equal if delta > 1.729 errors."""
    half = np.random.default_rng(2).normal(size=10)
    values = np.concatenate([half, -half])  # without skew
    values = (values - values.mean()) / values.std(ddof=1)
    found = comparisons.estimate(Paired(values[None, None], np.ones((1, 20))))
    edge = stats.t.ppf(0.95, 19) / np.sqrt(20)
    assert significance.equivalence(found, edge) == pytest.approx([0.05])
    assert significance.equivalence(found, 2 * edge) == pytest.approx(
        [stats.t.sf(2 * stats.t.ppf(0.95, 19), 19)]
    )
    assert significance.equivalence(found, edge / 10)[0] > 0.3


def test_equivalence_is_the_larger_of_two_one_sided_tests():
    half = np.random.default_rng(3).normal(0, 1, 15)
    values = 0.1 + np.concatenate([half, -half])  # without skew
    found = comparisons.estimate(Paired(values[None, None], np.ones((1, 30))))
    sides = [
        stats.ttest_1samp(values, -0.5, alternative="greater").pvalue,
        stats.ttest_1samp(values, 0.5, alternative="less").pvalue,
    ]
    assert significance.equivalence(found, 0.5) == pytest.approx([max(sides)], rel=1e-6)


def test_equivalence_agrees_with_the_90_percent_interval():
    generator = np.random.default_rng(4)
    sums = (
        generator.normal(0, 0.02, (5, 200, 30))
        + generator.normal(0, 0.01, (5, 200, 1))
        + np.linspace(0, 0.05, 200)[:, None]
    )
    found = comparisons.estimate(Paired(sums, np.ones((200, 30))))
    below, above = found.spread.reach(0.9)
    low, high = found.value - below, found.value + above
    equivalent = significance.equivalence(found, 0.03) <= 0.05
    assert np.array_equal(equivalent, (low > -0.03) & (high < 0.03)) and 0 < equivalent.mean() < 1


@pytest.mark.parametrize(
    ("quantile", "p"), [(1.886, 0.10), (2.920, 0.05), (4.303, 0.025), (6.965, 0.01)]
)
def test_equivalence_of_three_documents_by_the_printed_table(quantile, p):
    """-1, 0, 1: mean 0, error 1 / sqrt(3), two degrees of freedom: Student's quantiles."""
    found = comparisons.estimate(Paired(np.array([[[-1.0, 0.0, 1.0]]]), np.ones((1, 3))))
    assert significance.equivalence(found, quantile / np.sqrt(3)) == pytest.approx([p], rel=1e-3)
