"""The bootstrap against loops over explicit draws and scipy; coverage on clustered losses."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lengthgen.statistics import bootstrap


def losses(generator, n_seeds=3, n_lengths=4, n_documents=12):
    n_tokens = np.broadcast_to(
        generator.integers(20, 400, n_documents), (n_seeds, n_lengths, n_documents)
    ).astype(float)
    mean = (
        2
        + generator.normal(0, 0.3, n_documents)
        + generator.normal(0, 0.1, (n_seeds, 1, 1))
        + 0.05 * np.arange(n_lengths)[:, None]
    )
    return mean * n_tokens, n_tokens


def test_value_is_the_ratio_of_sums_not_a_mean_of_means():
    assert bootstrap.token_mean(np.array([10.0, 2.0]), np.array([10, 1])) == pytest.approx(12 / 11)
    assert bootstrap.bootstrap(
        np.array([10.0, 2.0]), np.array([10, 1]), n_resamples=10
    ).value == pytest.approx([12 / 11])
    assert np.isnan(bootstrap.token_mean(np.zeros(3), np.zeros(3)))


def test_every_resample_is_that_draw_of_seeds_and_documents():
    total, weight = losses(np.random.default_rng(1))
    n_seeds, n_lengths, n_documents = total.shape
    drawn = bootstrap.bootstrap(total, weight, n_resamples=50, seed=7)
    generator = np.random.default_rng(7)  # the same draws, as lists of units
    documents, seeds = (
        generator.integers(n_documents, size=(50, n_documents)),
        generator.integers(n_seeds, size=(50, n_seeds)),
    )
    for r in range(50):
        for a in range(n_lengths):
            top = sum(total[s, a, d] for s in seeds[r] for d in documents[r])
            bottom = sum(weight[s, a, d] for s in seeds[r] for d in documents[r])
            assert drawn.samples[r, a] == pytest.approx(top / bottom, rel=1e-12)
    low, high = drawn.bounds()
    assert low == pytest.approx(np.quantile(drawn.samples, 0.025, axis=0))
    assert high == pytest.approx(np.quantile(drawn.samples, 0.975, axis=0))


def test_one_seed_resamples_documents_only_and_ranks_may_be_left_out():
    total, weight = losses(np.random.default_rng(2), n_seeds=1, n_lengths=1)
    three, one = (
        bootstrap.bootstrap(total, weight, n_resamples=20),
        bootstrap.bootstrap(total[0, 0], weight[0, 0], n_resamples=20),
    )
    assert np.array_equal(three.samples, one.samples)
    same_seed_twice = bootstrap.bootstrap(
        np.repeat(total, 2, 0), np.repeat(weight, 2, 0), n_resamples=20
    )
    assert same_seed_twice.samples == pytest.approx(one.samples)  # seeds that agree add no spread


def test_seeds_that_differ_widen_the_interval():
    total, weight = losses(np.random.default_rng(3))
    widths = [
        np.subtract(*bootstrap.bootstrap(t, weight, n_resamples=2000).bounds()[::-1])
        for t in (total, total[[0, 0, 0]])
    ]
    assert (widths[0] > widths[1]).all()


def test_paired_change_is_narrower_than_two_separate_intervals():
    generator = np.random.default_rng(4)
    total, weight = losses(generator, n_documents=60)
    total = total + generator.normal(0, 0.01, total.shape) * weight
    drawn = bootstrap.bootstrap(total, weight, n_resamples=4000)
    change = drawn.change(0)
    low, high = change.bounds()
    assert change.value == pytest.approx([0, 0.05, 0.1, 0.15], abs=0.01)
    assert (low[0], high[0]) == (0, 0)
    unpaired = np.sqrt(2) * np.subtract(*drawn.bounds()[::-1])
    assert ((high - low)[1:] < unpaired[1:] / 5).all()
    assert (low[1:] > 0).all()  # a change of 0.05 is seen through a document spread of 0.3


def test_coverage_with_documents_and_undercoverage_with_tokens():
    """300 evaluations, 100 documents x 256 tokens, correlation 0.05; the truth is 2 nats."""
    generator, n_sets, n_documents, n_tokens = np.random.default_rng(5), 300, 100, 256
    between, within = np.sqrt(0.05), np.sqrt(0.95)
    document = 2 + generator.normal(0, between, (n_sets, n_documents))
    sums = n_tokens * document + within * np.sqrt(n_tokens) * generator.normal(
        0, 1, (n_sets, n_documents)
    )
    low, high = bootstrap.bootstrap(
        sums, np.full(sums.shape, n_tokens), n_resamples=1000, seed=1
    ).bounds()
    assert 0.90 <= np.mean((low <= 2) & (high >= 2)) <= 0.98
    error = 1.96 / np.sqrt(
        n_documents * n_tokens
    )  # tokens taken as independent (their variance is 1)
    value = sums.sum(axis=1) / (n_documents * n_tokens)
    assert np.mean(np.abs(value - 2) <= error) < 0.60


def test_coverage_over_seeds_and_documents():
    """300 simulated schemes, 10 seeds x 60 documents: the truth is over both."""
    generator, n_sets = np.random.default_rng(6), 300
    document, seed = (
        generator.normal(0, 0.2, (1, n_sets, 60)),
        generator.normal(0, 0.05, (10, n_sets, 1)),
    )
    mean = 2 + document + seed + generator.normal(0, 0.05, (10, n_sets, 60))
    low, high = bootstrap.bootstrap(100 * mean, np.full(mean.shape, 100), n_resamples=1000).bounds()
    assert 0.90 <= np.mean((low <= 2) & (high >= 2)) <= 0.98


def test_deterministic_and_independent_of_chunks(monkeypatch):
    total, weight = losses(np.random.default_rng(8), n_seeds=1)
    first = bootstrap.bootstrap(total, weight, n_resamples=100, seed=3)
    assert np.array_equal(
        first.samples, bootstrap.bootstrap(total, weight, n_resamples=100, seed=3).samples
    )
    assert not np.array_equal(
        first.samples, bootstrap.bootstrap(total, weight, n_resamples=100, seed=4).samples
    )
    monkeypatch.setattr(bootstrap, "CHUNK", 7 * total.shape[-1])
    assert bootstrap.bootstrap(total, weight, n_resamples=100, seed=3).samples == pytest.approx(
        first.samples
    )


def test_what_cannot_be_known_is_nan():
    weight = np.full((1, 3, 5), 10.0)
    weight[0, 1, 1:] = 0  # one document at the second length
    total = 2.0 * weight
    total[0, 2, 4] = np.nan  # a non-finite loss at the third
    drawn = bootstrap.bootstrap(total, weight, n_resamples=50)
    low, high = drawn.bounds()
    assert drawn.value[:2] == pytest.approx([2, 2]) and np.isnan(drawn.value[2])
    assert np.isfinite(low[0]) and np.isnan(low[1:]).all() and np.isnan(high[1:]).all()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="expected the same"):
        bootstrap.bootstrap(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="4 axes"):
        bootstrap.bootstrap(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1, 1)))


def index_bootstrap(table, rng):
    """scipy's bootstrap of a table's mean: seeds and documents are two samples of indices."""

    def mean(seeds, documents, axis=-1):
        return table[seeds[..., :, None], documents[..., None, :]].mean(axis=(-2, -1))

    samples = tuple(np.arange(n) for n in table.shape)
    return stats.bootstrap(samples, mean, n_resamples=999, method="BCa", vectorized=True, rng=rng)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bca_against_scipy(seed):
    generator = np.random.default_rng(seed)
    table = (
        generator.exponential(size=(1, 30))
        + 0.3 * generator.exponential(size=(6, 1))
        + 0.1 * generator.normal(size=(6, 30))
    )
    expected = index_bootstrap(table, generator)
    found = bootstrap.bootstrap(table[:, None], np.ones((6, 1, 30)), n_resamples=10)
    assert found.value == pytest.approx([table.mean()])
    same_draws = replace(found, samples=expected.bootstrap_distribution[:, None])
    assert np.ravel(same_draws.bca()) == pytest.approx(list(expected.confidence_interval), rel=1e-9)
    assert np.ravel(same_draws.bca()) != pytest.approx(np.ravel(same_draws.bounds()), rel=1e-3)


def test_left_out_is_the_mean_without_each_unit():
    total, weight = losses(np.random.default_rng(10))
    seeds, documents = bootstrap.bootstrap(total, weight, n_resamples=10).left_out
    assert seeds[1, 2] == pytest.approx(total[[0, 2], 2].sum() / weight[[0, 2], 2].sum())
    assert documents[4, 3] == pytest.approx(
        np.delete(total[:, 3], 4, axis=1).sum() / np.delete(weight[:, 3], 4, axis=1).sum()
    )
    assert (
        len(bootstrap.bootstrap(total[:1], weight[:1], n_resamples=10).left_out) == 1
    )  # one seed: documents only


def test_bca_of_a_change_is_that_of_the_differences():
    total, weight = losses(np.random.default_rng(11), n_documents=30)
    weight = np.broadcast_to(weight[:, :1], weight.shape)
    found = bootstrap.bootstrap(total, weight, n_resamples=400).change(1).bca()
    direct = bootstrap.bootstrap(total - total[:, 1:2], weight, n_resamples=400).bca()
    keep = [0, 2, 3]
    assert np.array(found)[:, keep] == pytest.approx(np.array(direct)[:, keep])


def test_bca_is_the_percentile_interval_where_it_degenerates():
    same = bootstrap.bootstrap(
        np.full(6, 20.0), np.full(6, 10), n_resamples=50
    )  # nothing changes anything
    assert np.ravel(same.bca()) == pytest.approx([2, 2])
    drawn = bootstrap.bootstrap(np.arange(6.0), np.ones(6), n_resamples=50)
    outside = replace(drawn, value=drawn.samples.max(axis=0) + 1)
    assert np.array_equal(outside.bca(), outside.bounds()) and not np.array_equal(
        drawn.bca(), drawn.bounds()
    )


def test_knows_no_torch_and_no_pandas():
    code = (
        "import sys, lengthgen.statistics.bootstrap; "
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
