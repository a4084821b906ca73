"""Synthetic sources: a symbol costs what they say, by enumeration, by brute force and by sampling.

Every source is small enough here for all its documents to be listed: the chances that its losses
give must sum to one, be those of its samples, and give every windowed floor by plain conditioning.
The published figures are checked beside that.
"""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import digamma

from lengthgen.data.sources import weights
from lengthgen.data.sources.copying import follow
from lengthgen.data.sources.dictionary import Dictionary
from lengthgen.data.sources.dirichlet import Dirichlet
from lengthgen.data.sources.draws import Draws
from lengthgen.data.sources.fractional import FractionalLag
from lengthgen.data.sources.lags import Lags, lag_copy
from lengthgen.data.sources.recall import KeyedRecall
from lengthgen.schemes.t5_bias import bucket

from .entropy_rate import entropy_rate, entropy_rate_of
from .scheme_cases import bias_of, make

SMALL = {  # source, symbols of a document
    "one lag": (lag_copy(3, 0.7, 2), 5),
    "lags": (Lags(2, 0.8, [1, 2, 4], [0.5, 0.2, 0.3]), 7),
    "even lags": (Lags(2, 0.8, [2, 4]), 8),
    "no copies": (Lags(3, 0.0, [1]), 4),
    "fraction": (FractionalLag(3, 0.6, 0.4), 5),
    "dirichlet": (Dirichlet(3, 0.5), 6),
    "flat dirichlet": (Dirichlet(2, 7.0), 8),
    "dictionary": (Dictionary(2, 2, 1.0), 4),
    "dictionary, a key without its value": (Dictionary(2, 2, 0.5), 5),
    "recall": (KeyedRecall(3, 2, 0.6, (2, 4)), 5),
    "recall, whole pairs": (KeyedRecall(2, 2, 0.4, (2,)), 4),
}


def limit(source):
    """f(infinity) of a Dirichlet source, in nats: the loss when the frequencies are known."""
    return digamma(source.n_symbols * source.beta + 1) - digamma(source.beta + 1)


small = pytest.mark.parametrize(("source", "length"), SMALL.values(), ids=SMALL)


@functools.cache
def listed(source, length):
    """All documents (N, T) and the chance of each by the source's own losses (N,)."""
    documents = np.array(list(itertools.product(range(source.n_symbols), repeat=length)))
    return documents, np.exp(-np.array([source.losses(document).sum() for document in documents]))


@small
def test_the_chances_of_all_documents_sum_to_one(source, length):
    assert listed(source, length)[1].sum() == pytest.approx(1, abs=1e-12)


@small
def test_samples_have_the_chances_that_the_losses_say(source, length):
    documents, chance = listed(source, length)
    n = 5000
    drawn = np.array([source.sample(Draws(1, "test", i), length) for i in range(n)])
    assert drawn.shape == (n, length) and drawn.dtype == np.int64
    place = source.n_symbols ** np.arange(length)[::-1]
    counts = np.bincount(drawn @ place, minlength=len(documents))
    assert counts[chance == 0].sum() == 0
    common = n * chance >= 5  # the rest in one bin, for the normal approximation
    expected = np.append(n * chance[common], n * chance[~common].sum())
    found = np.append(counts[common], counts[~common].sum())
    chi2 = ((found - expected)[expected > 0] ** 2 / expected[expected > 0]).sum()
    assert common.sum() > 3 and abs(chi2 - common.sum()) < 4 * math.sqrt(2 * common.sum())


@small
@pytest.mark.parametrize("window", [0, 1, 2, 3, 4, 5])
def test_windowed_losses_are_the_conditional_chances(source, length, window):
    """By brute force over all documents: P(x_t | the `window` symbols before t, and t)."""
    documents, chance = listed(source, length)
    given = np.array([source.losses(document, window=window) for document in documents])
    for t in range(length):
        seen = documents[:, max(t - window, 0) : t]
        _, group = np.unique(seen, axis=0, return_inverse=True)
        _, one = np.unique(np.column_stack((seen, documents[:, t])), axis=0, return_inverse=True)
        together = np.bincount(one.ravel(), chance)[one.ravel()]
        known = np.isfinite(given[:, t]) & (chance > 0)
        true = together[known] / np.bincount(group.ravel(), chance)[group.ravel()][known]
        np.testing.assert_allclose(np.exp(-given[known, t]), true, atol=1e-12)


def test_which_windows_are_exact():
    """All lags or none are seen: exact. Some: refused, as hidden ones are not uniform."""
    source, length = Lags(2, 0.8, [2, 4]), 8
    document = source.sample(Draws(0), length)
    exact = {
        window: np.isfinite(source.losses(document, window)).tolist()
        for window in (0, 1, 2, 3, 4, 7)
    }
    assert exact[0] == exact[1] == exact[4] == exact[7] == [True] * 8
    assert exact[2] == exact[3] == [True] * 4 + [False] * 4
    documents, chance = listed(source, length)
    copied = documents[:, 4] == documents[:, 2]
    true = chance[copied].sum()  # P(x_4 = x_2), where only x_2 and x_3 are seen
    as_if_uniform = 0.2 / 2 + 0.8 * (0.5 + 0.5 / 2)
    assert abs(true - as_if_uniform) > 0.05
    one = lag_copy(2, 0.8, 3)
    assert all(np.isfinite(one.losses(document, window)).all() for window in range(8))
    every_other = np.where(np.arange(8) % 2, 4, 0)
    assert np.array_equal(
        source.losses(document, every_other),
        np.where(every_other, source.losses(document), math.log(2)),
    )
    recall = KeyedRecall(8, 4, 0.5, (2,))
    assert (
        np.isnan(recall.losses(recall.sample(Draws(0), 8), 3)).tolist() == [False] * 4 + [True] * 4
    )


# lags


def formula_one_lag(n_symbols, p):
    q, r = p + (1 - p) / n_symbols, (1 - p) / n_symbols
    return -q * math.log(q) - (n_symbols - 1) * r * math.log(r)


def formula_two_lags(n_symbols, p, first, second):
    """Lags P and 2P: the two lagged symbols are equal (chance pi), or not."""
    u = (1 - p) / n_symbols
    a, b = u + p, u + p * first
    pi = b / (1 - a + b)
    equal = -a * math.log(a) - (n_symbols - 1) * u * math.log(u)
    rest = -(n_symbols - 2) * u * math.log(u)
    unequal = rest - sum((u + p * w) * math.log(u + p * w) for w in (first, second))
    return pi * equal + (1 - pi) * unequal


@pytest.mark.parametrize(
    ("source", "rate"),
    [
        (lag_copy(32, 0.9, 23), 0.650829),
        (Lags(32, 0.8, [1, 2]), 1.326977),
        (Lags(32, 0.8, *weights.geometric(0.5, 6)), 1.555886),
        (Lags(32, 0.8, *weights.power(1.5, 6)), 1.498994),
        (Lags(32, 0.8, *weights.comb(13, 4)), 1.586137),
    ],
)
def test_entropy_rates_and_their_monte_carlo_means(source, rate):
    assert entropy_rate_of(source) == pytest.approx(rate, abs=5e-7)
    means = [source.losses(source.sample(Draws("rate", i), 4096))[512:].mean() for i in range(100)]
    error = np.std(means, ddof=1) / math.sqrt(len(means))
    assert error < 0.005 and abs(np.mean(means) - rate) < 3.5 * error


@pytest.mark.parametrize("n_symbols, p", [(2, 0.5), (3, 0.9), (32, 0.9), (1000, 0.99)])
def test_entropy_rates_equal_the_formulas_of_one_and_two_lags(n_symbols, p):
    assert entropy_rate_of(lag_copy(n_symbols, p, 7)) == pytest.approx(
        formula_one_lag(n_symbols, p), abs=1e-12
    )
    two = Lags(n_symbols, p, [5, 10], [0.3, 0.7])
    assert entropy_rate_of(two) == pytest.approx(formula_two_lags(n_symbols, p, 0.3, 0.7), abs=1e-9)


@pytest.mark.parametrize("n_symbols", [2, 3])
def test_lumping_loses_nothing(n_symbols):
    """Fewer symbols than lags; against the stationary law of all V^K states."""
    law, p = np.array([0.2, 0.5, 0.1, 0.2]), 0.7
    states = list(itertools.product(range(n_symbols), repeat=4))  # the newest symbol first
    chance = np.array(
        [
            [(1 - p) / n_symbols + p * law[np.array(s) == v].sum() for v in range(n_symbols)]
            for s in states
        ]
    )
    step = np.zeros((len(states), len(states)))
    for i, state in enumerate(states):
        for v in range(n_symbols):
            step[i, states.index((v, *state[:-1]))] += chance[i, v]
    share = np.linalg.matrix_power(step, 2**20)[0]
    true = share @ -(chance * np.log(chance)).sum(axis=1)
    assert entropy_rate(n_symbols, p, law) == pytest.approx(true, abs=1e-10)


def test_where_there_is_no_closed_form():
    with pytest.raises(ValueError, match=r"P, 2P, \.\.\., KP"):
        entropy_rate_of(Lags(32, 0.9, [1, 3]))
    with pytest.raises(ValueError, match="expected 1"):
        entropy_rate(32, 0.9, np.array([0.5, 0.6]))
    with pytest.raises(ValueError, match="at most 9"):
        entropy_rate_of(Lags(32, 0.9, np.arange(1, 11)))


def test_the_floor_of_a_lag_copy_by_position():
    source = lag_copy(32, 0.9, 23)
    losses = np.array([source.losses(source.sample(Draws("position", i), 64)) for i in range(4000)])
    assert np.allclose(losses[:, :23], math.log(32))
    mean, error = losses[:, 23:].mean(), losses[:, 23:].mean(axis=1).std() / math.sqrt(4000)
    assert error < 0.005 and abs(mean - entropy_rate_of(source)) < 3.5 * error
    perplexity = [
        math.exp((23 * math.log(32) + (n - 23) * entropy_rate_of(source)) / n)
        for n in (512, 768, 1024, 2048)
    ]
    assert np.round(perplexity, 3).tolist() == [2.176, 2.086, 2.042, 1.979]


def test_lags_are_found_far_back_and_alone():
    source = lag_copy(1000, 0.999, 300)
    document = source.sample(Draws(5), 4096)
    equal = {lag: (document[lag:] == document[:-lag]).mean() for lag in (1, 299, 300, 301)}
    assert equal[300] > 0.99 and max(equal[1], equal[299], equal[301]) < 0.02


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(lags=[]), "rising integers"),
        (dict(lags=[0, 1]), "rising integers"),
        (dict(lags=[2, 2]), "rising integers"),
        (dict(lags=[1, 2], weights=[1.0]), "one positive number for each of 2 lags"),
        (dict(lags=[1, 2], weights=[1.0, 0.0]), "one positive number"),
        (dict(lags=[1], n_symbols=1), "at least 2 symbols"),
        (dict(lags=[1], p=1.0), "0 <= p < 1"),
    ],
)
def test_impossible_lags(options, says):
    with pytest.raises(ValueError, match=says):
        Lags(**{"n_symbols": 32, "p": 0.9} | options)


# the laws of lags and the schemes that have them


def test_t5_buckets_are_the_schemes():
    offsets = np.arange(10_000)
    for num_buckets, max_distance in ((32, 128), (32, 256), (64, 1024), (16, 64), (2, 5)):
        ours = weights.t5_bucket(offsets, num_buckets, max_distance)
        assert np.array_equal(
            ours, bucket(torch.from_numpy(offsets), num_buckets, max_distance).numpy()
        )


def attended(source, document, bias):
    """The losses of one head that weighs offset D by e^bias[D] and mixes in new symbols."""
    losses = [math.log(source.n_symbols)]
    for t in range(1, len(document)):
        weight = np.exp(bias[:t] - bias[:t].max())
        share = weight @ (document[t - 1 :: -1] == document[t]) / weight.sum()
        losses.append(-math.log((1 - source.p) / source.n_symbols + source.p * share))
    return np.array(losses)


def scheme_bias(name, law, length, **parameters):
    unscaled = {"scale_bias": False, "num_buckets": 32, "max_distance": 128}
    options = unscaled if name == "t5_bias" else {}
    scheme = make(name, n_heads=4, train_length=length, **options)
    with torch.no_grad():
        for parameter, value in parameters.items():
            getattr(scheme, parameter).fill_(value)
        if name == "t5_bias":
            first = [
                int(np.argmax(weights.t5_bucket(np.arange(length), 32, 128) == b))
                for b in range(32)
            ]
            scheme.table[:] = torch.from_numpy(np.log(law[1][first]))
    return bias_of(scheme, np.arange(length))[1].double().numpy()


HOMES = {
    "alibi": ("alibi", weights.geometric(2.0**-4, 300), {}),  # the second of four slopes
    "kerple_power": ("kerple_power", weights.geometric(0.1, 300), {"r1": 0.1, "r2": 1.0}),
    "kerple_log": ("kerple_log", weights.power(1.5, 300), {"r1": 1.5, "r2": 1.0}),
    "t5_bias": ("t5_bias", weights.buckets([0.1, 1.0], 32, 128, 300), {}),
}


@pytest.mark.parametrize(("name", "law", "parameters"), HOMES.values(), ids=HOMES)
def test_a_scheme_is_exactly_right_at_home(name, law, parameters):
    """The scheme's bias, as one head, loses exactly the floor on every symbol from the first on."""
    source = Lags(32, 0.9, *law)
    document = source.sample(Draws("home", name), 300)
    bias = scheme_bias(name, law, 300, **parameters)
    np.testing.assert_allclose(attended(source, document, bias), source.losses(document), atol=2e-5)


def test_no_slope_has_steps_or_a_comb():
    """What the best line loses on the laws that rise with distance: much more than on its own."""
    excess = {}
    for name, law in (
        ("steps", weights.buckets([0.1, 1.0], 32, 128, 1024)),
        ("comb", weights.comb(13, 3)),
    ):
        source = Lags(32, 0.9, *law)
        documents = [source.sample(Draws("away", i), 1024) for i in range(20)]
        floor = np.mean([source.losses(document)[128:] for document in documents])
        lines = [Lags(32, 0.9, *weights.geometric(2.0**-k, 1024)) for k in range(1, 9)]
        excess[name] = (
            min(np.mean([line.losses(document)[128:] for document in documents]) for line in lines)
            - floor
        )
    assert excess["steps"] > 0.05 and excess["comb"] > 1


def test_buckets_have_their_levels():
    lags, weight = weights.buckets([1.0, 3.0], 32, 128, 1000)
    by_bucket = np.bincount(weights.t5_bucket(lags - 1, 32, 128), weights=weight)
    assert np.allclose(by_bucket, [1.0, 3.0] * 16) and len(lags) == 1000
    assert len(np.unique(weight[113:])) == 1  # offsets 113 and on: the last bucket
    assert weights.comb(13, 3)[0].tolist() == [13, 26, 39]
    assert weights.geometric(0.5, 10_000)[0][-1] == 1399  # e^-700 is the smallest weight kept


# Dirichlet documents


@pytest.mark.parametrize(
    "n_symbols, excess", [(256, [0.1515, 0.0932, 0.0529]), (64, [0.0523, 0.0281, 0.0147])]
)
def test_published_floors_of_dirichlet_documents(n_symbols, excess):
    source = Dirichlet(n_symbols)
    # published is 0.0147 where this is 0.014648
    assert [source.floor(n) - limit(source) for n in (512, 1024, 2048)] == pytest.approx(
        excess, abs=6e-5
    )


def test_published_losses_of_a_window():
    source = Dirichlet(256)
    lost = [source.floor(window) - source.floor(2048) for window in (64, 128, 256, 512, 1024)]
    assert lost == pytest.approx([0.290, 0.237, 0.169, 0.099, 0.040], abs=5e-4)


@pytest.mark.parametrize("n_symbols, beta", [(2, 1.0), (3, 0.5), (4, 3.0)])
def test_floors_by_enumeration(n_symbols, beta):
    source = Dirichlet(n_symbols, beta)
    documents, chance = listed(source, 6)
    losses = np.array([source.losses(document) for document in documents])
    assert chance @ losses == pytest.approx([source.floor(n) for n in range(6)], abs=1e-12)


def test_floors_by_monte_carlo():
    source = Dirichlet(64, 0.5)
    documents = [source.sample(Draws("dirichlet", i), 1025) for i in range(400)]
    for window in (None, 50):
        losses = np.array([source.losses(document, window) for document in documents])
        for first, last, seen in (
            ((1024, 1025, 1024), (90, 110, 100), (600, 1024, 800))
            if window is None
            else ((50, 1025, 50),)
        ):
            means = losses[:, first:last].mean(axis=1)
            error = means.std(ddof=1) / math.sqrt(len(means))
            assert (
                error < 0.06 and abs(means.mean() - source.floor(seen)) < 3.5 * error + 1e-3
            )  # 1e-3: f bends within a range


def test_the_limit_is_the_mean_entropy_of_the_frequencies():
    source = Dirichlet(16, 0.7)
    frequencies = np.random.default_rng(0).dirichlet([0.7] * 16, 20_000)
    entropies = -(frequencies * np.log(frequencies)).sum(axis=1)
    assert abs(entropies.mean() - limit(source)) < 4 * entropies.std() / math.sqrt(20_000)
    assert source.floor(200_000) - limit(source) == pytest.approx(
        15 / 2 / 200_000, rel=0.02
    )  # (V - 1) / 2n, in the limit


def test_a_loss_is_read_as_context():
    source = Dirichlet(256)
    floors = [source.floor(n) for n in range(300)]
    assert all(later < earlier for earlier, later in itertools.pairwise(floors))
    for context in (1, 2, 100, 512, 5000):
        assert source.context_of(source.floor(context)) == pytest.approx(context, rel=1e-6)
    assert 100 < source.context_of((source.floor(100) + source.floor(101)) / 2) < 101
    assert source.context_of(math.log(256)) == source.context_of(9.0) == 0
    assert source.context_of(limit(source)) == math.inf


@pytest.mark.parametrize(
    "options", [dict(n_symbols=1), dict(n_symbols=4, beta=0.0), dict(n_symbols=4, beta=math.nan)]
)
def test_impossible_dirichlet(options):
    with pytest.raises(ValueError, match="expected at least 2 symbols and beta > 0"):
        Dirichlet(**options)


# fractional lag


def test_a_fractional_lag_grows_with_the_document():
    source = FractionalLag(50, 0.99, 0.25)
    for length in (64, 100, 512):
        document = source.sample(Draws(3), length)
        lag = round(length / 4)
        assert (document[lag:] == document[:-lag]).mean() > 0.9
        assert np.array_equal(source.losses(document), lag_copy(50, 0.99, lag).losses(document))
        means = [source.losses(source.sample(Draws("f", i), length)).mean() for i in range(300)]
        floor = (
            lag * math.log(50) + (length - lag) * entropy_rate_of(lag_copy(50, 0.99, lag))
        ) / length
        assert abs(np.mean(means) - floor) < 3.5 * np.std(means) / math.sqrt(300)
    with pytest.raises(ValueError, match="is a lag of 0: expected 1 to 1"):
        source.sample(Draws(0), 2)


# keyed recall


def test_recall_is_unambiguous_and_its_floors_are_zero_or_ln_v():
    distances = (4, 16, 64, 256)
    source = KeyedRecall(301, 16, 0.5, distances)
    repeats, seen = 0, set()
    for i in range(40):
        document = source.sample(Draws("recall", i), 601)
        keys, values = document[::2], document[1::2]
        assert keys.max() < 301 <= values.min() and values.max() < 317
        found, losses = source.distances_of(document), source.losses(document)
        known = np.flatnonzero(found)
        assert np.array_equal(document[known], document[known - found[known]])
        assert np.array_equal(
            document[known - 1], document[known - 1 - found[known]]
        )  # the key that stood before it
        assert (losses[known] == 0).all() and np.allclose(
            losses[1::2][found[1::2] == 0], math.log(16)
        )
        assert max(np.bincount(keys)) == 2  # never a third time
        repeats, seen = repeats + len(known), seen | set(found[known])
        assert np.allclose(
            losses[known - 1], math.log(8)
        )  # a key that comes again: q / 4 distances
    assert seen == set(distances) and repeats > 1000


def test_a_pair_that_can_come_again_does_so_at_its_chance():
    """Counted from the keys alone: new pairs not repeated yet, at every distance."""
    source = KeyedRecall(301, 16, 0.5, (4, 16, 64, 256))
    could, did = 0, 0
    for i in range(60):
        keys = source.sample(Draws("rate", i), 601)[::2].tolist()
        for place in range(len(keys)):
            for back in (2, 8, 32, 128):
                earlier = place - back
                if (
                    earlier >= 0
                    and keys[earlier] not in keys[:earlier]
                    and keys[earlier] not in keys[earlier + 1 : place]
                ):
                    could, did = could + 1, did + (keys[place] == keys[earlier])
    assert abs(did / could - 0.125) < 4 * math.sqrt(0.125 * 0.875 / could) < 0.01


@pytest.mark.parametrize(
    "wrong",
    [
        [0, 4, 1, 5, 1, 6],
        [0, 4, 0, 5],
        [0, 4, 0, 4, 0, 4],
        [0, 4, 1, 4, 2, 4, 0, 4],
        [4, 0, 5, 1],
        [0, 1, 1, 5],
        [0, 4, 1, 1],
    ],
    ids=[
        "another value",
        "another value at once",
        "a third time",
        "a distance that is not",
        "values first",
        "no value",
        "no value later",
    ],
)
def test_what_cannot_come_has_no_finite_loss(wrong):
    source = KeyedRecall(4, 4, 0.5, (2, 4))
    assert np.isinf(source.losses(np.array(wrong))).any()
    assert np.isfinite(source.losses(np.array([0, 4, 1, 5, 1, 5, 0, 4][:6]))).all()


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(distances=()), "even numbers"),
        (dict(distances=(3,)), "even numbers"),
        (dict(distances=(2, 2)), "different"),
        (dict(repeat=1.0), "0 < repeat < 1"),
        (dict(n_values=1), "at least 2 values"),
    ],
)
def test_impossible_recall(options, says):
    with pytest.raises(ValueError, match=says):
        KeyedRecall(**{"n_keys": 8, "n_values": 4, "repeat": 0.5, "distances": (2,)} | options)


def test_recall_needs_a_key_for_each_pair():
    with pytest.raises(ValueError, match="9 symbols are 5 pairs"):
        KeyedRecall(4, 4, 0.5, (2,)).sample(Draws(0), 9)


# random numbers and copying


def test_draws_are_pinned():
    """The same on every machine and with every version of NumPy: stores keep their fingerprints."""
    assert Draws(0, "train", 0).integers(1000, 5).tolist() == [983, 457, 637, 730, 521]
    assert Draws(0, "train", 0).uniform(2).tolist() == [0.48762765775773453, 0.7121932142682997]


def test_streams_differ_and_are_uniform():
    keys = [
        (0, "train", 0),
        (0, "train", 1),
        (0, "validation", 0),
        (1, "train", 0),
        (np.int64(1), "train", 1),
    ]
    streams = [tuple(Draws(*key).integers(2**40, 4)) for key in keys]
    assert len(set(streams)) == len(keys)
    assert tuple(Draws(np.int64(0), "train", np.int64(1)).integers(2**40, 4)) == streams[1]
    drawn = Draws("uniform").uniform(100_000)
    assert drawn.min() >= 0 and drawn.max() < 1
    counts = np.bincount((drawn * 50).astype(int), minlength=50)
    assert ((counts - 2000) ** 2 / 2000).sum() < 49 + 4 * math.sqrt(98)
    assert np.bincount(Draws("i").integers(7, 7000)).min() > 850


def test_copies_are_followed_to_their_beginning():
    chance = np.random.default_rng(0)
    for length in (1, 2, 50, 1000):
        origin = np.array(
            [chance.integers(t + 1) if chance.random() < 0.95 else t for t in range(length)]
        )
        new, expected = chance.integers(100, size=length), []
        for t in range(length):
            expected.append(new[t] if origin[t] == t else expected[origin[t]])
        assert follow(origin, new).tolist() == expected
    chain = np.maximum(np.arange(5000) - 1, 0)
    assert (follow(chain, np.arange(5000) + 7) == 7).all()
