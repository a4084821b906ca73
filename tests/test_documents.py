"""Intervals of unequal and skewed documents: by hand, and where they cover."""

import numpy as np
import pytest
from scipy import stats

from lengthgen.statistics import calibration, comparisons, documents, fails_or_uses, variance
from lengthgen.statistics.losses import Losses
from lengthgen.statistics.paired import Paired
from lengthgen.statistics.words import Evidence


def one_seed(values, tokens):
    values, tokens = np.asarray(values, float), np.asarray(tokens, float)
    return comparisons.estimate(Paired((values * tokens)[None, None], tokens[None]))


def test_symmetric_documents_of_one_size_have_students_interval():
    half = np.random.default_rng(0).normal(size=6)
    values = 1 + np.concatenate([half, -half])
    found = one_seed(values, np.full(12, 7))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert [found.low[0], found.high[0]] == pytest.approx(expected)
    assert found.p[0] == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_side_of_the_long_tail_is_longer_by_johnsons_term(sign):
    values = sign * np.random.default_rng(1).exponential(size=16)
    found = one_seed(values, np.ones(16))
    critical, error = stats.t.ppf(0.975, 15), stats.sem(values)
    extra = variance.SKEW * abs(stats.skew(values)) / 4 / 6 * (1 + 2 * critical**2)
    sides = found.value[0] - found.low[0], found.high[0] - found.value[0]
    short, long = sides[::sign]
    assert short == pytest.approx(error * critical)
    assert long == pytest.approx(error * (critical + extra))


def test_degrees_of_freedom_follow_the_sizes():
    equal, unequal = (one_seed(np.arange(6.0), sizes) for sizes in ([5] * 6, [80, 1, 1, 1, 1, 1]))
    assert equal.spread.document_df == pytest.approx([5])
    assert unequal.spread.document_df == pytest.approx([1])
    w = np.array([3.0, 2.0, 2.0, 1.0])
    by_hand = (w**2).sum() ** 2 / (w**4).sum() - 1
    assert one_seed(np.arange(4.0), w).spread.document_df == pytest.approx([by_hand])


def test_p_is_005_where_an_end_of_the_interval_is():
    values = np.random.default_rng(3).exponential(size=20) + 0.5
    found = one_seed(values, np.ones(20))
    for end in (found.low[0], found.high[0]):
        assert one_seed(values - end, np.ones(20)).p == pytest.approx([0.05], rel=1e-3)


@pytest.mark.parametrize(("n", "decided"), [(7, False), (8, True)])
def test_few_documents_are_undecided_with_the_reason(n, decided):
    generator = np.random.default_rng(4)
    loss = 2 + 0.3 * generator.normal(size=(1, 1, n)) + np.array([0.0, 1.0])[:, None]
    tokens = np.full((1, 2, n), 10.0)
    losses = Losses(10 * loss, tokens, (0,), (16, 32), tuple(map(str, range(n))))
    answer = Evidence("rope", 16, losses).at(32)
    assert (answer.word == "fails") == decided and documents.FEWEST == 8
    assert answer.reason == ("" if decided else "7 documents: at least 8 are needed")
    assert fails_or_uses.FEWEST == documents.FEWEST


@pytest.mark.parametrize("n_seeds", [1, 5])
def test_coverage_under_skew_with_few_and_unequal_documents(n_seeds):
    rows = {
        (row["skew"], row["method"]): row["covered"]
        for row in calibration.few_documents(n_sets=600, seeds=[n_seeds], documents=[12])
    }
    assert 0.92 < rows["exponential", "in use"] < 0.985
    assert rows["exponential", "in use"] > rows["exponential", "plain Student"] + 0.01
