"""The error rates: coverage, comparisons of a scheme with itself, intervals from tokens."""

import numpy as np
import pytest

from lengthgen.statistics import calibration
from lengthgen.statistics.calibration import SETTINGS

OURS = "two-way Student"


def covered(setting, n_seeds, n_documents, n_sets=400, n_resamples=400):
    rows = calibration.coverage(
        SETTINGS[setting], n_seeds, n_documents, n_sets, n_resamples, np.random.default_rng(0)
    )
    assert {row["n_sets"] for row in rows} == {n_sets}
    return {row["method"]: row["covered"] for row in rows}


def test_ten_seeds_are_enough_for_every_interval():
    found = covered("balanced", 10, 48)
    for method in (OURS, "Satterthwaite", "percentile", "BCa"):
        assert 0.92 <= found[method] <= 0.98, method
    assert (
        found["seeds alone"] < 0.85 and found["documents alone"] < 0.95
    )  # each leaves the other's share out


def test_three_seeds_are_enough_for_one():
    found = covered("seeds differ", 3, 48)
    assert 0.92 <= found[OURS] <= 0.98
    assert max(found["percentile"], found["BCa"]) < 0.87 and found["documents alone"] < 0.65


def test_skewed_documents():
    found = covered("skewed documents", 5, 48)
    assert all(0.91 <= found[method] <= 0.98 for method in (OURS, "percentile", "BCa"))


def test_a_scheme_against_itself():
    found = calibration.same_scheme(n_resamples=400)
    for test in (OURS, "paired t", "sign flip"):
        assert 0.02 <= found[test] <= 0.08, test
    assert found["documents alone"] > 0.2  # documents are not what differs between seeds
    assert (
        calibration.same_scheme(n_seeds=5, n_resamples=100)["sign flip"] == 0
    )  # five seeds cannot reach 0.05


def test_tokens_are_not_independent():
    found = calibration.tokens_as_independent()
    assert 0.17 <= found["tokens"] <= 0.25 and 0.93 <= found["documents"] <= 0.97
    assert 0.93 <= calibration.tokens_as_independent(correlation=0.0)["tokens"] <= 0.97


def test_table_has_a_row_for_every_cell_and_is_deterministic():
    small = dict(n_sets=20, n_resamples=50, seeds=(3, 4), documents=(10,))
    rows = calibration.table(**small)
    assert (
        len({(row["setting"], row["n_seeds"], row["n_documents"], row["method"]) for row in rows})
        == len(rows)
        == len(SETTINGS) * 2 * 6
    )
    assert all(0 <= row["covered"] <= 1 and row["width"] > 0 for row in rows)
    assert rows == calibration.table(**small) and rows != calibration.table(**small, seed=1)


@pytest.mark.slow
def test_coverage_of_the_interval_of_the_verdicts():
    """1,000 comparisons a cell, standard error 0.7 %.

    With 3 seeds the interval is known to be wide: 95 to 97.3 % in the large.
    """
    for row in calibration.table():
        if row["method"] == OURS:
            assert 0.93 <= row["covered"] <= (0.97 if row["n_seeds"] > 3 else 0.98), row


@pytest.mark.slow
def test_coverage_of_the_bootstrap_with_ten_seeds():
    """Its faults: too narrow where seeds decide (92 %), too wide for interaction alone."""
    for row in calibration.table(seeds=(10,)):
        if row["method"] in ("percentile", "BCa"):
            assert (
                (0.90 if row["setting"] == "seeds differ" else 0.925) <= row["covered"] <= 0.985
            ), row


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [3, 6, 10])
def test_two_thousand_comparisons_of_a_scheme_with_itself(n_seeds):
    found = calibration.same_scheme(n_comparisons=2000, n_seeds=n_seeds)
    assert 0.035 <= found[OURS] <= 0.06 and 0.035 <= found["paired t"] <= 0.065
    assert found["sign flip"] <= 0.06
