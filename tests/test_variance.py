"""The two-way layout against hand figures and Student's t.

The interval's p-value against its bounds.
"""

import numpy as np
import pytest
from scipy import stats

from lengthgen.statistics import variance
from lengthgen.statistics.variance import Components, MeanSquares, Spread

BY_HAND = np.array([[[1.0, 2.0, 6.0]], [[3.0, 4.0, 2.0]]])  # 2 seeds, 1 column, 3 documents


def test_mean_squares_by_hand():
    # Means: 3; of seeds 3, 3; of documents 2, 3, 4. Seeds 0; documents 2 (1 + 0 + 1) / 2 = 2; the
    # rest (1 + 1 + 4) 2 / 2 = 6.
    squares = variance.mean_squares(BY_HAND)
    assert [squares.seed, squares.document, squares.interaction] == [0, 2, 6]
    assert (squares.n_seeds, squares.n_documents) == (2, 3)
    parts = variance.components(squares)
    assert [parts.seed, parts.document, parts.interaction] == [0, 0, 6]  # negative estimates are 0
    assert (
        variance.spread(squares).standard_error == 0
    )  # seeds that agree, documents that differ less than their interaction


def test_components_by_hand():
    squares = MeanSquares(
        np.array([10.0]), np.array([7.0]), np.array([1.0]), n_seeds=3, n_documents=9
    )
    parts = variance.components(squares)
    assert [parts.seed[0], parts.document[0], parts.interaction[0]] == pytest.approx([1, 2, 1])
    spread = variance.spread(squares)
    assert [spread.seed[0], spread.document[0]] == pytest.approx([10 / 27, 6 / 27])
    again = variance.expected(
        parts, 3, 9
    )  # what such components lead one to expect of the same design
    assert [again.seed, again.document, again.seed_df, again.document_df] == [
        spread.seed,
        spread.document,
        2,
        8,
    ]
    assert variance.expected(parts, 6, 18).standard_error ** 2 == pytest.approx(
        1 / 6 + 2 / 18 + 1 / 108
    )


def test_simulated_components_are_found():
    generator = np.random.default_rng(0)
    shape = (12, 400, 40)  # 400 tables
    table = (
        0.3 * generator.normal(size=(12, 400, 1))
        + 0.2 * generator.normal(size=(1, 400, 40))
        + 0.5 * generator.normal(size=shape)
    )
    parts = variance.components(variance.mean_squares(table))
    assert [parts.seed.mean(), parts.document.mean(), parts.interaction.mean()] == pytest.approx(
        [0.09, 0.04, 0.25], rel=0.05
    )
    assert variance.spread(variance.mean_squares(table)).standard_error.mean() == pytest.approx(
        table.mean((0, 2)).std(), rel=0.06
    )


def test_one_seed_is_students_t_over_documents():
    table = np.random.default_rng(1).normal(0.3, 1, size=(1, 2, 15))
    spread, mean = variance.spread(variance.mean_squares(table)), table.mean(axis=(0, 2))
    for column in range(2):
        expected = stats.ttest_1samp(table[0, column], 0)
        assert 2 * spread.tail(np.abs(mean))[column] == pytest.approx(expected.pvalue, rel=1e-6)
        low, high = expected.confidence_interval(0.95)
        half = (spread.critical(0.025) * spread.standard_error)[column]
        assert (mean[column] - half, mean[column] + half) == pytest.approx((low, high))
    assert np.isnan(
        variance.components(variance.mean_squares(table)).seed
    ).all()  # nothing is known of the seeds


def test_seeds_alone_are_students_t_over_seeds():
    of_seed = np.random.default_rng(2).normal(0.3, 1, size=5)
    table = np.repeat(of_seed[:, None, None], 8, axis=2)
    spread = variance.spread(variance.mean_squares(table))
    assert 2 * spread.tail(np.abs(of_seed.mean(keepdims=True))) == pytest.approx(
        stats.ttest_1samp(of_seed, 0).pvalue, rel=1e-6
    )
    assert spread.df == pytest.approx(4)


def test_the_critical_value_is_the_weighted_mean_of_two_quantiles():
    spread = Spread(np.array([3.0, 0.0, 1.0]), np.array([1.0, 2.0, 0.0]), seed_df=2, document_df=47)
    expected = [
        0.75 * stats.t.ppf(0.975, 2) + 0.25 * stats.t.ppf(0.975, 47),
        stats.t.ppf(0.975, 47),
        stats.t.ppf(0.975, 2),
    ]
    assert spread.critical(0.025) == pytest.approx(expected)
    assert spread.df == pytest.approx([16 / (9 / 2 + 1 / 47), 47, 2])  # Satterthwaite


@pytest.mark.parametrize("tail", [0.4, 0.025, 1e-6])
def test_the_p_value_inverts_the_critical_value(tail):
    spread = Spread(np.array([3.0, 0.0]), np.array([1.0, 2.0]), seed_df=2, document_df=47)
    distance = spread.critical(tail) * spread.standard_error
    assert spread.tail(distance) == pytest.approx([tail, tail], rel=1e-6)
    assert spread.tail(-distance) == pytest.approx([1 - tail, 1 - tail], rel=1e-6)


def test_the_ends_of_the_p_value():
    spread = Spread(
        np.array([0.0, 0.0, 1.0, np.nan]), np.array([0.0, 0.0, 1.0, 1.0]), seed_df=2, document_df=9
    )
    found = spread.tail(np.array([0.0, 1.0, 0.0, 1.0]))
    assert found[[0, 2]] == pytest.approx(
        [0.5, 0.5]
    )  # no spread and no distance; spread and no distance
    assert found[1] < 1e-20  # a distance that nothing spreads
    assert np.isnan(found[3])


def test_one_document_has_no_spread():
    spread = variance.spread(variance.mean_squares(np.random.default_rng(3).normal(size=(4, 1, 1))))
    assert np.isnan(spread.standard_error).all()


def test_expected_mean_squares_of_known_components():
    spread = variance.expected(
        Components(np.array([0.04]), np.array([0.5]), np.array([0.6])), n_seeds=10, n_documents=50
    )
    assert [spread.seed[0], spread.document[0]] == pytest.approx([0.04 / 10 + 0.6 / 500, 0.5 / 50])
