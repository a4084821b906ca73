"""Paired differences: the estimand, what must be the same on both sides, the intervals."""

import subprocess
import sys

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from lengthgen.errors import DataError
from lengthgen.statistics import bootstrap, comparisons
from lengthgen.statistics.losses import Losses
from lengthgen.statistics.paired import Paired


def arms(n_seeds=4, n_lengths=3, n_documents=20, seed=0):
    """Two arms whose losses share their documents; the second is 0.1 nats better."""
    generator = np.random.default_rng(seed)
    n_tokens = np.broadcast_to(
        generator.integers(1, 4, n_documents) * 64.0, (n_seeds, n_lengths, n_documents)
    )
    hard = generator.normal(2, 0.5, n_documents)
    first = (
        hard
        + generator.normal(0, 0.02, (n_seeds, 1, 1))
        + generator.normal(0, 0.03, n_tokens.shape)
    )
    second = (
        hard
        - 0.1
        + generator.normal(0, 0.02, (n_seeds, 1, 1))
        + generator.normal(0, 0.03, n_tokens.shape)
    )
    return first * n_tokens, second * n_tokens, n_tokens


def difference(first, second, n_tokens, other_tokens=None) -> Paired:
    other_tokens = n_tokens if other_tokens is None else other_tokens
    return Losses.numbered(first, n_tokens).minus(Losses.numbered(second, other_tokens))


def test_the_estimand_is_the_difference_of_the_ratio_means():
    first, second, n_tokens = arms()
    paired = difference(first, second, n_tokens)
    by_hand = [
        sum(first[s, 1]) / sum(n_tokens[s, 1]) - sum(second[s, 1]) / sum(n_tokens[s, 1])
        for s in range(4)
    ]
    assert paired.seed_values[:, 1] == pytest.approx(by_hand)
    assert paired.value[1] == pytest.approx(np.mean(by_hand))
    assert paired.table().mean(axis=(0, 2)) == pytest.approx(paired.value)
    assert paired.table().mean(axis=2) == pytest.approx(
        paired.seed_values
    )  # its means by seed are the seeds' ratios


def test_the_table_of_equal_documents_is_the_plain_difference():
    sums = np.arange(12.0).reshape(2, 2, 3)
    assert Paired(10 * sums, np.full((2, 3), 10.0)).table() == pytest.approx(sums)


def test_the_standard_error_of_unequal_documents_is_the_jackknifes():
    """One seed: the spread of the ratio without each document in turn, around the ratio."""
    generator = np.random.default_rng(1)
    tokens = generator.integers(1, 9, 30).astype(float)
    sums = tokens * generator.normal(0.2, 0.1, 30)
    found = comparisons.estimate(Paired(sums[None, None], tokens[None]))
    ratio = sums.sum() / tokens.sum()
    without = (sums.sum() - sums) / (tokens.sum() - tokens)
    expected = np.sqrt(29 / 30 * ((without - ratio) ** 2).sum())
    assert found.spread.standard_error == pytest.approx([expected])


def test_pairing_takes_out_the_documents():
    first, second, n_tokens = arms()
    paired = comparisons.estimate(difference(first, second, n_tokens))
    single = comparisons.estimate(difference(first, 0 * second, n_tokens))
    assert paired.value == pytest.approx([0.1] * 3, abs=0.05)
    assert ((paired.high - paired.low) < (single.high - single.low) / 3).all()
    assert (paired.p < 0.05).all() and (paired.low > 0).all()


def test_p_and_interval_agree():
    first, second, n_tokens = arms(n_lengths=40)
    shift = np.linspace(0, 0.2, 40)[:, None] * n_tokens
    found = comparisons.estimate(difference(first, second + shift, n_tokens))
    assert np.array_equal(found.p <= 0.05, (found.low > 0) | (found.high < 0))
    assert 0 < np.mean(found.p <= 0.05) < 1
    below, above = found.spread.reach(0.95)
    assert np.allclose(found.value + above, found.high)
    assert np.allclose(found.value - below, found.low)
    assert (found.value - found.spread.reach(0.9)[0] > found.low).all()


def test_what_is_not_known():
    first, second, n_tokens = arms(n_documents=5)
    n_tokens = n_tokens.copy()
    n_tokens[:, 1, 1:] = 0  # one document at the second length
    first[:, 1, 1:] = second[:, 1, 1:] = 0
    first[1, 2, 3] = np.inf
    paired = difference(first, second, n_tokens)
    found = comparisons.estimate(paired)
    assert np.isfinite([found.value[0], found.low[0], found.p[0]]).all()
    assert (
        np.isfinite(found.value[1])
        and np.isnan([found.low[1], found.p[1], found.value[2], found.low[2], found.p[2]]).all()
    )
    assert found.n_documents.tolist() == [5, 1, 5]
    drawn = comparisons.resampled(paired, n_resamples=50)
    assert (
        np.isfinite(drawn.bounds()[0][0])
        and np.isnan(drawn.bounds()[0][1:]).all()
        and np.isnan(drawn.bca()[1][1:]).all()
    )
    one = comparisons.estimate(difference(first[:1], second[:1], n_tokens[:1]))
    assert np.isfinite(one.low[0])


def test_documents_without_tokens_are_left_out():
    first, second, n_tokens = arms()
    wider = [
        np.concatenate([values, np.zeros((4, 3, 2))], axis=2)
        for values in (first, second, n_tokens)
    ]
    with_empty, without = (difference(*wider), difference(first, second, n_tokens))
    assert comparisons.estimate(with_empty).low == pytest.approx(comparisons.estimate(without).low)


def test_both_sides_must_have_the_same_targets_and_seeds():
    first, second, n_tokens = arms()
    with pytest.raises(DataError, match=r"1 of 60 token counts differ .* matched protocol"):
        other = n_tokens.copy()
        other[:, 0, 0] += 1
        difference(first, second, n_tokens, other)
    with pytest.raises(
        DataError, match="2 of 60 token counts differ"
    ):  # as many in all, of other documents
        other = n_tokens.copy()
        other[:, 0, :2] += [1, -1]
        difference(first, second, n_tokens, other)
    with pytest.raises(DataError, match="token counts differ"):  # between seeds
        other = n_tokens.copy()
        other[2, 0, 0] += 1
        difference(first, second, other)
    with pytest.raises(DataError, match=r"seeds \(0, 1, 2, 3\) are compared with \(0, 1, 2\)"):
        difference(first, second[:3], n_tokens, n_tokens[:3])
    with pytest.raises(DataError, match="same lengths and documents"):
        difference(first, second[:, :2], n_tokens, n_tokens[:, :2])
    with pytest.raises(TypeCheckError, match="parameter 'loss_sum'"):
        difference(first[0], second[0], n_tokens)


def test_an_exact_floor_has_one_row_for_all_seeds():
    first, second, n_tokens = arms()
    found = difference(first, second[:1], n_tokens, n_tokens[:1])
    assert found.sums == pytest.approx(first - second[:1])


def test_a_difference_of_differences():
    first, second, n_tokens = arms()
    one, other = (difference(first, second, n_tokens), difference(first, 0 * first, n_tokens))
    found = one.minus(other, np.array([0.0, 1.0, 2.0]))
    assert found.value == pytest.approx(one.value - np.array([0, 1, 2]) * other.value)


def test_resampled_intervals_are_the_multi_bootstraps():
    first, second, n_tokens = arms()
    drawn = comparisons.resampled(difference(first, second, n_tokens), n_resamples=500, seed=3)
    expected = bootstrap.bootstrap(first - second, n_tokens, n_resamples=500, seed=3)
    assert np.array(drawn.bounds()) == pytest.approx(np.array(expected.bounds()))
    assert np.array(drawn.bca()) == pytest.approx(np.array(expected.bca()))


def test_needs_no_torch():
    modules = ", ".join(
        f"lengthgen.statistics.{name}" for name in ("calibration", "fails_or_uses", "power")
    )
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
