"""A claim of a study as it is declared, and its verdict: supported, refuted or undecided.

| prediction | supported: the measure is | refuted: it is |
|---|---|---|
| above X | above X | below X |
| below X | below X | above X |
| within X | between -X and X (two one-sided tests) | below -X or above X |

By the two-way Student test over seeds and documents (statistics/variance.py) at 0.05, two-sided
where a sign is claimed. The primary claims of a study share that error rate (Holm); the p-values of
the others, which are exploratory, are adjusted for false discoveries (Benjamini and Hochberg).
Supports and refutations are separate families.

A study is supported if all of its primary claims are, refuted if one is refuted, else undecided.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lengthgen.config import dataclass_from
from lengthgen.statistics import multiplicity

if TYPE_CHECKING:
    from lengthgen.studies.measured import Measured

ALPHA = 0.05
MOST_PRIMARY = 6
PREDICTION = re.compile(r"(?P<kind>above|below|within) (?P<threshold>-?\d+(\.\d+)?)")
SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"


@dataclass
class Claim:
    claim: str = ""  # in words
    measure: str = ""  # a name of measures.py
    subject: str = ""  # arm, or arm+condition
    # Arm (or arm+condition) whose measure is subtracted, seed by seed and document by document.
    baseline: str | None = None
    length_factor: float | None = None  # evaluation length / train_length
    window: float | None = None  # tokens / train_length, of the measure beyond_window
    protocol: str | None = None  # null: the measure's default
    predict: str = ""  # above X | below X | within X
    primary: bool = False  # one of those that decide the study

    def __post_init__(self) -> None:
        match = PREDICTION.fullmatch(self.predict)
        dataclass_from.check(
            match is not None,
            f"predict={self.predict}: expected `above X`, `below X` or `within X`",
        )

    @property
    def kind(self) -> str:
        return self.predict.partition(" ")[0]

    @property
    def threshold(self) -> float:
        return float(self.predict.partition(" ")[2])


@dataclass(frozen=True)
class Verdict:
    """p: adjusted, of the side that the word is on (the likelier one if undecided)."""

    name: str
    claim: Claim
    word: str
    value: float
    low: float
    high: float
    p: float
    detectable: float
    n_seeds: int
    n_documents: int


def judge(claims: Mapping[str, Claim], measured: Mapping[str, "Measured"]) -> list[Verdict]:
    """A verdict on every claim, in their order."""
    sides = np.array([_sides(claim, measured[name]) for name, claim in claims.items()])
    primary = np.array([claim.primary for claim in claims.values()])
    adjusted = np.ones_like(sides)  # column 0: for the claim, column 1: against it
    for family, correct in (
        (primary, multiplicity.holm),
        (~primary, multiplicity.benjamini_hochberg),
    ):
        for side in (0, 1):
            adjusted[family, side] = correct(sides[family, side])
    return [
        _verdict(name, claim, measured[name], *adjusted[i])
        for i, (name, claim) in enumerate(claims.items())
    ]


def of_study(words: Iterable[str]) -> str:
    """A study's verdict from the words of its primary claims."""
    words = set(words)
    return REFUTED if REFUTED in words else SUPPORTED if words == {SUPPORTED} else UNDECIDED


def of_verdicts(verdicts: Sequence[Verdict]) -> str:
    return of_study(verdict.word for verdict in verdicts if verdict.claim.primary)


def _sides(claim: Claim, measured: "Measured") -> tuple[float, float]:
    """(p of the claim being wrong, p of its contrary being wrong)."""
    threshold = claim.threshold
    if claim.kind == "within":
        outside = 2 * min(measured.above(threshold), measured.below(-threshold))
        return measured.within(threshold), min(1.0, outside)
    above, below = (min(1.0, 2 * p) for p in (measured.above(threshold), measured.below(threshold)))
    return (above, below) if claim.kind == "above" else (below, above)


def _verdict(
    name: str, claim: Claim, measured: "Measured", p_for: float, p_against: float
) -> Verdict:
    word = SUPPORTED if p_for <= ALPHA else REFUTED if p_against <= ALPHA else UNDECIDED
    p = float(min(p_for, p_against))
    return Verdict(name, claim, word, *measured.bounds, p, measured.detectable, *measured.counts)
