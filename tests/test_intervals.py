"""Intervals of publications: which one is taken, what is paired, and bins of positions."""

import numpy as np
import pytest
from scipy import stats

from lengthgen.statistics import comparisons, intervals
from lengthgen.statistics.losses import Losses
from lengthgen.statistics.paired import Paired


def sums(n_seeds: int, n_documents: int = 12, seed: int = 0):
    """(S, 3, D) losses and tokens.

    Every length has the same targets, the documents not as many each.
    """
    chance = np.random.default_rng(seed)
    tokens = np.broadcast_to(
        10.0 * chance.integers(1, 5, n_documents), (n_seeds, 3, n_documents)
    ).copy()
    loss = (
        2
        + chance.normal(0, 0.3, n_documents)
        + chance.normal(0, 0.1, (n_seeds, 1, 1))
        + chance.normal(0, 0.05, tokens.shape)
    )
    return loss * tokens, tokens


def test_one_seed_has_the_interval_of_a_verdict_over_its_documents():
    loss, tokens = sums(1)
    found = Losses.numbered(loss, tokens)
    mean = comparisons.estimate(Paired(loss, tokens[0]))
    change = comparisons.estimate(Paired(loss - loss[:, [1]], tokens[0]))
    assert found.means().low == pytest.approx(mean.low)
    assert found.changes(1).high == pytest.approx(change.high)


def test_a_seed_without_a_length_takes_no_part_there_nor_in_its_change():
    loss, tokens = sums(3)
    loss[2, 2], tokens[2, 2] = 0, 0
    found, pair = Losses.numbered(loss, tokens), Losses.numbered(loss[:2], tokens[:2])
    assert (
        found.means().low[2] == pytest.approx(pair.means().low[2])
        and found.means().low[0] != pair.means().low[0]
    )
    assert found.changes(0).value[2] == pytest.approx(
        pair.changes(0).value[2]
    )  # of the same two seeds at both lengths
    assert found.changes(0).high[1] != pytest.approx(pair.changes(0).high[1])
    loss[1:, 2], tokens[1:, 2] = 0, 0
    alone = Losses.numbered(loss, tokens)
    assert alone.means().low[2] == pytest.approx(
        Losses.numbered(loss[:1], tokens[:1]).means().low[2]
    )


def test_a_change_needs_the_same_targets():
    loss, tokens = sums(3)
    tokens[:, 2, 0] += 1
    changes = Losses.numbered(loss, tokens).changes(0)
    assert np.isnan(changes.value).tolist() == [False, False, True]
    assert [changes.value[0], changes.low[0], changes.high[0]] == [0, 0, 0]


def test_bins_take_the_documents_part_from_the_seeds_own_intervals():
    width = 2 * 1.959964 * 0.1
    low, high = intervals.of_bins(
        *np.array([[2.0, 2.0, 2.0], [0.0, 0.03, 0.03], [width, 0.0, width], [3, 3, 3], [20, 20, 1]])
    )
    assert high[0] - 2 == pytest.approx(0.1 * stats.t.ppf(0.975, 19), rel=1e-5)  # the seeds agree
    assert 2 - low[1] == pytest.approx(0.1 * stats.t.ppf(0.975, 2), rel=1e-5)  # the documents do
    assert np.isnan(low[2])  # one document


def test_the_name_says_which():
    assert intervals.words([3, 5]) == intervals.SEVERAL and intervals.words([1]) == intervals.ONE
    assert intervals.words([1, 3]) == f"{intervals.SEVERAL}; or, with one seed, {intervals.ONE}"
