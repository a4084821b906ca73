"""Minimum detectable differences: simulated tests, Student's power, and the table."""

import numpy as np
import pytest
from scipy import stats

from lengthgen.statistics import comparisons, power
from lengthgen.statistics.paired import Paired
from lengthgen.statistics.variance import Components


def components(seed, document, interaction):
    return Components(*(np.array([sd**2]) for sd in (seed, document, interaction)))


@pytest.mark.parametrize(
    ("parts", "n_seeds", "n_documents"),
    [
        ((0.03, 0.0, 0.001), 5, 50),
        ((0.003, 0.16, 0.03), 10, 60),
        ((0.01, 0.04, 0.04), 10, 48),
        ((0.01, 0.04, 0.04), 3, 48),
    ],
)
def test_the_test_finds_it_four_times_in_five(parts, n_seeds, n_documents):
    generator, n_sets = np.random.default_rng(0), 2000
    detectable = power.minimum_detectable(components(*parts), n_seeds, n_documents)
    seed, document, interaction = parts
    table = (
        detectable[:, None]
        + seed * generator.normal(size=(n_seeds, n_sets, 1))
        + document * generator.normal(size=(n_sets, n_documents))
    )
    table = table + interaction * generator.normal(size=(n_seeds, n_sets, n_documents))
    found = comparisons.estimate(Paired(table, np.ones((n_sets, n_documents))))
    assert np.mean(found.p <= 0.05) == pytest.approx(0.8, abs=0.05)


def test_one_variance_is_students_power():
    """Only the seeds differ: the paired t over ten seeds."""
    detectable = power.minimum_detectable(components(0.02, 0, 0), 10, 50)[0]
    shift = detectable / (0.02 / np.sqrt(10))
    assert stats.nct.sf(stats.t.ppf(0.975, 9), 9, shift) == pytest.approx(0.8, abs=1e-4)
    assert detectable / 0.02 == pytest.approx(
        1.0, abs=0.02
    )  # an effect of one standard deviation needs ten seeds


def test_more_seeds_documents_and_risk_detect_less_and_fewer_more():
    parts = components(0.01, 0.04, 0.04)
    base = power.minimum_detectable(parts, 6, 48)
    assert (
        power.minimum_detectable(parts, 10, 48) < base
        and power.minimum_detectable(parts, 6, 200) < base
    )
    assert (
        power.minimum_detectable(parts, 6, 48, alpha=0.1)
        < base
        < power.minimum_detectable(parts, 6, 48, power=0.9)
    )
    assert np.isnan(power.minimum_detectable(parts, 1, 48)) and np.isnan(
        power.minimum_detectable(parts, 6, 1)
    )


def pilot(n_seeds=6):
    generator = np.random.default_rng(1)
    table = (
        0.01 * generator.normal(size=(n_seeds, 2, 1))
        + 0.04 * generator.normal(size=(2, 60))
        + 0.04 * generator.normal(size=(n_seeds, 2, 60))
    )
    return Paired(table * 128, np.full((2, 60), 128.0))


def test_table():
    rows = power.table(pilot(), 1, (6, 10), iter((60, 10_000)))
    assert [(row["n_seeds"], row["n_documents"]) for row in rows] == [
        (6, 60),
        (6, 10_000),
        (10, 60),
        (10, 10_000),
    ]
    assert rows[0]["standard_error"] == pytest.approx(
        comparisons.estimate(pilot()).spread.standard_error[1]
    )
    for row in rows:
        assert row["standard_error"] < row["detectable"] < row["cautious"]
        assert row["reaches_goal"] == (row["detectable"] <= 0.005)
    assert power.table(pilot(), 1, (1000,), (100_000,))[0]["reaches_goal"]
    assert rows != power.table(pilot(), 0, (6, 10), (60, 10_000))


def test_caution_shrinks_with_seeds():
    ratios = [
        row["cautious"] / row["detectable"]
        for n in (3, 30)
        for row in power.table(pilot(n), 0, (10,), (200,))
    ]
    assert ratios[0] > 1.5 > ratios[1] > 1


def test_one_seed_says_nothing_of_seeds():
    row = power.table(pilot(1), 0, (10,), (200,))[0]
    assert np.isnan(row["detectable"]) and not row["reaches_goal"]


def test_what_a_comparison_could_have_seen_itself():
    found = power.of(pilot())
    for column in (0, 1):
        (row,) = power.table(pilot(), column, [6], [60])
        assert [
            found.standard_error[column],
            found.detectable[column],
            found.cautious[column],
        ] == pytest.approx([row["standard_error"], row["detectable"], row["cautious"]])


def test_one_seed_sees_over_documents_alone():
    """Student's power over documents: 60 differences of one seed."""
    found, values = power.of(pilot(1)), pilot(1).table()[0]
    error = values.std(axis=1, ddof=1) / np.sqrt(60)
    assert found.standard_error == pytest.approx(error) and np.isnan(found.cautious).all()
    chance = stats.nct.sf(stats.t.ppf(0.975, 59), 59, found.detectable / error)
    assert chance == pytest.approx([0.8, 0.8], abs=1e-4)


def test_no_spread_leaves_nothing_unseen():
    assert power.of(Paired(np.ones((3, 1, 5)), np.ones((1, 5)))).detectable == pytest.approx([0])


def test_caution_never_sees_more():
    """Two seeds that hardly differ: their quantile, 12.7, has their share of the variance."""
    generator = np.random.default_rng(3)
    table = 0.001 * generator.normal(size=(2, 300, 1)) + 0.01 * generator.normal(size=(2, 300, 8))
    found = power.of(Paired(table, np.ones((300, 8))))
    assert (found.cautious >= found.detectable).all() and (found.cautious == found.detectable).any()
    row = power.table(
        Paired(table, np.ones((300, 8))),
        int(np.argmin(found.cautious - found.detectable)),
        [2],
        [8],
    )[0]
    assert row["cautious"] == row["detectable"]
