"""Words of verdicts: each of the four, the families, and the limits of what may be claimed."""

import numpy as np
import pytest

from lengthgen.errors import ConfigError
from lengthgen.evaluation import verdicts
from lengthgen.evaluation.verdicts import Claim
from lengthgen.statistics import comparisons, significance
from lengthgen.statistics.comparisons import Paired


def estimate(*means, spread=0.01, n_seeds=6):
    """A column for each mean, exactly; every table has the same spread."""
    noise = np.random.default_rng(0).normal(0, spread, (n_seeds, 1, 40))
    noise = noise - noise.mean()
    return comparisons.estimate(Paired(noise + np.array(means)[:, None], np.ones((len(means), 40))))


@pytest.mark.parametrize(
    ("value", "p_difference", "p_equivalence", "word"),
    [(-1, 0.01, 0.9, "superior"), (1, 0.01, 0.9, "inferior"), (1, 0.3, 0.02, "equivalent"), (1, 0.3, 0.2, "undecided"),
     (-0.001, 0.01, 0.01, "superior"), (1, np.nan, np.nan, "undecided")],
)  # fmt: skip
def test_words(value, p_difference, p_equivalence, word):
    assert verdicts.word(value, p_difference, p_equivalence) == word


def test_each_word_from_data():
    found = estimate(-0.1, 0.1, 0.0)
    noisy = estimate(0.02, spread=1.0)
    claims = [
        Claim("a", found, 0),
        Claim("b", found, 1),
        Claim("c", found, 2, kind="equivalence"),
        Claim("d", noisy),
    ]
    assert [v.word for v in verdicts.judge(claims)] == [
        "superior",
        "inferior",
        "equivalent",
        "undecided",
    ]
    assert all(v.label == "exploratory" for v in verdicts.judge(claims))


def test_an_absent_difference_is_no_equivalence_and_no_word_says_so():
    noisy = estimate(0.0, spread=1.0)
    found = verdicts.judge([Claim("a", noisy), Claim("a", noisy, kind="equivalence")])
    assert [v.word for v in found] == ["undecided", "undecided"]
    assert not any("no difference" in str(v) for v in found)


def test_a_claim_is_decided_by_its_own_kind():
    tiny = estimate(-0.002, spread=0.003)
    difference, equivalence = verdicts.judge(
        [Claim("a", tiny), Claim("b", tiny, kind="equivalence")]
    )
    assert (difference.word, equivalence.word) == ("superior", "equivalent")
    assert difference.negligible and "superior, by a negligible amount" in str(difference)
    large = verdicts.judge([Claim("a", estimate(-0.1))])[0]
    assert not large.negligible and "negligible" not in str(large)


def test_primary_claims_share_one_error_rate_and_exploratory_ones_another():
    found = estimate(0.0030, 0.0034, 0.0100)
    p, p_equivalent = found.p, significance.equivalence(found)
    primary = verdicts.judge([Claim(str(i), found, i, primary=True) for i in range(3)])
    assert [v.adjusted for v in primary] == pytest.approx(
        np.maximum.accumulate(np.sort(p) * [3, 2, 1])[::-1]
    )
    explored = verdicts.judge(
        [Claim("x", found, 0), Claim("y", found, 1), Claim("z", found, 0, kind="equivalence")]
    )
    assert [v.adjusted for v in explored] == pytest.approx(
        [max(p[:2]), max(p[:2]), p_equivalent[0]]
    )
    mixed = verdicts.judge(
        [
            Claim("x", found, 0, primary=True),
            Claim("y", found, 1),
            Claim("z", found, 2, kind="equivalence", primary=True),
        ]
    )
    assert [v.label for v in mixed] == ["primary", "exploratory", "primary"]
    assert [v.p for v in mixed] == pytest.approx([p[0], p[1], p_equivalent[2]])
    assert mixed[0].adjusted == pytest.approx(2 * p[0]) and mixed[1].adjusted == pytest.approx(p[1])
    assert (
        "Holm p" in str(mixed[0])
        and "primary" in str(mixed[0])
        and "q " in str(mixed[1])
        and "exploratory" in str(mixed[1])
    )


def test_correction_can_take_a_verdict_back():
    noise = estimate(0.0)
    edge = noise.high[0] * 1.05  # alone: p just below 0.05
    found = estimate(edge, *[0.0] * 5)
    assert verdicts.judge([Claim("a", found, primary=True)])[0].word == "inferior"
    assert (
        verdicts.judge([Claim(str(i), found, i, primary=True) for i in range(6)])[0].word
        == "undecided"
    )


def test_seven_primary_claims_and_unknown_kinds_are_refused():
    found = estimate(0.1)
    with pytest.raises(ConfigError, match="7 primary claims; expected at most 6"):
        verdicts.judge([Claim(str(i), found, primary=True) for i in range(7)])
    with pytest.raises(ConfigError, match="kind=better; expected difference or equivalence"):
        verdicts.judge([Claim("a", found, kind="better")])
    assert verdicts.judge([]) == []


def test_what_is_not_known_is_undecided():
    unknown = comparisons.estimate(Paired(np.full((3, 1, 4), np.nan), np.ones((1, 4))))
    found = verdicts.judge(
        [Claim("a", unknown, primary=True), Claim("b", estimate(0.1), primary=True)]
    )
    assert [v.word for v in found] == ["undecided", "inferior"]
