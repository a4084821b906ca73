"""F, U and utilisation by hand, and words that change only with the evidence."""

from dataclasses import replace

import numpy as np
import pytest

from lengthgen.statistics import comparisons, fails_or_uses
from lengthgen.statistics.losses import Losses
from lengthgen.statistics.paired import Paired

N_TOKENS = 50.0


def sums(*means, noise=0.0, n_seeds=5, n_documents=40, seed=0):
    """Loss sums (S, A, D) with these means by length, over shared hard and easy documents."""
    generator = np.random.default_rng(seed)
    shape = (n_seeds, len(means), n_documents)
    of_document = 2 + generator.normal(0, 0.5, n_documents)
    losses = of_document + np.array(means)[:, None] + noise * generator.normal(size=shape)
    return losses * N_TOKENS, np.full(shape, N_TOKENS)


def failure(loss_sum, n_tokens) -> Paired:
    """F of every length against the first."""
    losses = Losses.numbered(loss_sum, n_tokens)
    return losses.minus(losses.at(0))


def estimate(*means, **settings):
    return comparisons.estimate(failure(*sums(0.0, *means, **settings)))


def test_failure_and_use_by_hand():
    loss_sum = np.array(
        [[[10.0, 20.0], [14.0, 20.0], [8.0, 18.0]]]
    )  # one seed, lengths L/2, L, 2L, two documents
    n_tokens = np.array([[[2.0, 4.0]] * 3])
    losses, band = (Losses.numbered(sums, n_tokens) for sums in (loss_sum, loss_sum + 1.0))
    assert losses.minus(losses.at(1)).value == pytest.approx([-4 / 6, 0, -8 / 6])
    assert losses.at(1).minus(losses.at(2)).value == pytest.approx([8 / 6])  # a fresh window of L
    assert band.minus(losses).value == pytest.approx([2 / 6] * 3)


def test_words():
    failures = estimate(0.5, 0.002, 0.0, 0.011, -0.2, -0.2, -0.2, -0.2, noise=0.001)
    fresh = estimate(-0.5, -0.002, 0.0, -0.011, 0.2, 0.2, 0.2, 0.003, noise=0.001, seed=1)
    band = estimate(0.1, 0.0, 0.0, 0.0, 0.2, 0.0, 0.007, 0.2, noise=0.001, seed=2)
    words = fails_or_uses.classify(failures, [fresh, band])[1:]
    # -0.2 with a band that does as well is a window; a gain of 0.003 is none.
    assert words == [
        "fails",
        "tolerates",
        "tolerates",
        "fails",
        "uses",
        "tolerates",
        "uses",
        "tolerates",
    ]
    assert fails_or_uses.classify(failures, [fresh])[6:8] == ["uses", "uses"]


@pytest.mark.parametrize(
    ("failure", "gain", "noise", "word"),
    [(0.2, -0.2, 0.001, "fails"), (0.2, -0.2, 3.0, "undecided"), (-0.1, 0.1, 0.001, "uses"), (-0.1,
     0.1, 3.0, "undecided"),
     (0.0, 0.0, 0.001, "tolerates"), (0.0, 0.0, 0.2, "undecided")],
)  # fmt: skip
def test_intervals_that_do_not_decide_are_undecided(failure, gain, noise, word):
    assert (
        fails_or_uses.classify(
            estimate(failure, noise=noise), [estimate(gain, noise=noise, seed=1)]
        )[1]
        == word
    )


@pytest.mark.parametrize(
    ("failure", "gain", "word"),
    [((0.0101, 0.3), (-0.3, -0.01), "fails"), ((0.0099, 0.3), (-0.3, -0.01), "undecided"), ((-0.1,
     0.0101), (-0.01, 0.001), "undecided"),
     ((-0.1, 0.0099), (-0.01, 0.0049), "tolerates"), ((-0.1, 0.0099), (-0.01, 0.0051), "undecided"),
     ((-0.1, 0.0099), (0.005, 0.1), "uses"), ((-0.1, 0.0099), (0.0049, 0.1), "undecided"),
     ((-0.1, 0.0101), (0.005, 0.1), "undecided"), ((-0.1, 0.0099), (1e-9, 2e-9), "tolerates")],
)  # fmt: skip
def test_the_rules_at_their_bounds(failure, gain, word):
    some = estimate(0.0)
    failures, uses = (
        replace(some, low=np.array([low]), high=np.array([high]), n_documents=np.array([40]))
        for low, high in (failure, gain)
    )
    assert fails_or_uses.classify(failures, [uses]) == [word]


@pytest.mark.parametrize("failure", [0.5, 0.0, -0.2])
@pytest.mark.parametrize(
    ("competence", "in_use", "word"),
    [
        ((0.1, 0.2), (0.05, 0.1), None),
        ((-0.1, 0.2), (0.05, 0.1), "untrained"),
        ((0.0, 0.2), None, "untrained"),
        ((1e-9, 0.2), None, None),
        ((0.1, 0.2), (0.0499, 0.9), "positions not in use"),
        ((-0.1, 0.2), (0.0, 0.1), "untrained"),
        (None, (-0.1, 0.0), "positions not in use"),
        ((np.nan, np.nan), (0.1, 0.2), "undecided"),
        ((0.1, 0.2), (np.nan, np.nan), "undecided"),
    ],
)
def test_what_holds_at_the_training_length_comes_first(failure, competence, in_use, word):
    some = estimate(0.0)

    def bounds(ends):
        return ends and replace(
            some, low=np.array([ends[0]]), high=np.array([ends[1]]), n_documents=np.array([40])
        )

    failures, uses = bounds((failure - 0.001, failure + 0.001)), bounds((-failure, -failure))
    plain = fails_or_uses.classify(failures, [uses])
    assert plain == [{0.5: "fails", 0.0: "tolerates", -0.2: "uses"}[failure]]
    found = fails_or_uses.classify(
        failures, [uses], competence=bounds(competence), in_use=bounds(in_use)
    )
    assert found == ([word] if word else plain)


def test_words_need_a_window_and_knowledge():
    with pytest.raises(ValueError, match="no U"):
        fails_or_uses.classify(estimate(0.0), [])
    loss_sum, n_tokens = sums(0.0, 0.1)
    loss_sum[0, 1, 0] = np.nan
    unknown = comparisons.estimate(failure(loss_sum, n_tokens))
    assert fails_or_uses.classify(unknown, [unknown])[1] == "undecided"


def test_gate_refuses_a_corpus_without_long_context():
    found = fails_or_uses.gate(estimate(0.05, 0.003, noise=0.001))
    assert found.passed.tolist() == [False, True, False]
    assert found.reasons[1] == "" and "needs at least 0.005" in found.reasons[2]
    assert not fails_or_uses.gate(estimate(0.05, noise=3.0)).passed[1]  # 0.05, but not surely
    assert (
        fails_or_uses.gate(estimate(0.003, noise=0.001), name="rope")
        .reasons[1]
        .startswith("rope gains 0.003")
    )


def test_utilisation_by_hand():
    gain, reference = (failure(*sums(0.0, *means)) for means in ((0.1, 0.0, -0.2), (0.2, 0.2, 0.2)))
    value, low, high = fails_or_uses.utilisation(gain, reference)
    assert value[1:] == pytest.approx([0.5, 0, -1]) and np.isnan(
        value[0]
    )  # no gain at L itself: no ratio
    assert low[1:] == pytest.approx(value[1:], abs=1e-3) and high[1:] == pytest.approx(
        value[1:], abs=1e-3
    )


def test_utilisation_bounds_are_where_the_test_of_the_ratio_turns():
    generator = np.random.default_rng(5)
    tokens = np.full((3, 30), N_TOKENS)
    gain, reference = (
        Paired(N_TOKENS * (mean + 0.05 * generator.normal(size=(6, 3, 30))), tokens)
        for mean in (0.06, 0.1)
    )
    value, low, high = fails_or_uses.utilisation(gain, reference)
    assert (low < value).all() and (value < high).all()
    for ratio in (low, high):
        assert comparisons.estimate(gain.minus(reference, ratio)).p == pytest.approx(
            [0.05] * 3, rel=1e-3
        )


def test_utilisation_of_one_part_is_fiellers_interval():
    """One seed: the textbook quadratic for the ratio of two correlated means."""
    generator = np.random.default_rng(6)
    half, rest = generator.normal(0, 0.05, 12), generator.normal(0, 0.02, 12)
    x = 0.1 + np.concatenate([half, -half, [0.0]])  # without skew
    y = 0.5 * x + np.concatenate([rest, -rest, [0.0]])
    found = fails_or_uses.utilisation(
        Paired(y[None, None], np.ones((1, 25))), Paired(x[None, None], np.ones((1, 25)))
    )
    squared_t = 2.0638985616280205**2  # 24 degrees of freedom
    variances = np.cov(y, x) / 25
    a, b = (
        x.mean() ** 2 - squared_t * variances[1, 1],
        x.mean() * y.mean() - squared_t * variances[0, 1],
    )
    root = np.sqrt(b**2 - a * (y.mean() ** 2 - squared_t * variances[0, 0]))
    assert np.ravel(found) == pytest.approx([y.mean() / x.mean(), (b - root) / a, (b + root) / a])


def test_utilisation_is_unknown_without_a_reference_gain():
    generator = np.random.default_rng(7)
    tokens = np.ones((1, 20))
    gain, noise = (generator.normal(5, 1, (4, 1, 20)) for _ in range(2))
    gain, noise = Paired(gain, tokens), Paired(noise - noise.mean() + 0.1, tokens)
    assert noise.value > 0 and np.isnan(fails_or_uses.utilisation(gain, noise)).all()
    floor = Paired(
        np.full((1, 1, 20), 10.0) + generator.normal(0, 0.1, (1, 1, 20)), tokens
    )  # an exact floor: one row
    value, low, high = fails_or_uses.utilisation(gain, floor)
    assert value == pytest.approx([0.5], abs=0.1) and low < value < high
