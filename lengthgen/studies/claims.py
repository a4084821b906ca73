"""A claim of a study as it is declared, and its verdict.

| prediction | supported: the measure is | refuted: it is |
|---|---|---|
| above X | above X | below X |
| below X | below X | above X |
| within X | between -X and X (two one-sided tests) | below -X or above X |

By the two-way Student test over seeds and documents (statistics/variance.py) at 0.05, two-sided
where a sign is claimed. The primary claims of a study share that error rate (Holm); the p-values of
the exploratory ones are adjusted for false discoveries (Benjamini and Hochberg), those of checks of
the instrument among themselves. Supports and refutations are separate families. Undecided: neither.

A claim whose preconditions fail (preconditions.py) is `not answerable`, whatever was measured; it
keeps its place in its family. In a study with a grid of learning rates a claim is judged at each
arm's own best and at the common rates, and has a verdict only where both agree: no correction is
due for asking twice (intersection-union test, Berger 1982).

A study is supported if all of its primary claims are, refuted if one is refuted, not answerable if
none is answerable, else undecided. Checks are never counted.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
NOT_ANSWERABLE = "not answerable"
WORDS = (SUPPORTED, REFUTED, UNDECIDED, NOT_ANSWERABLE)
PRIMARY, EXPLORATORY, CHECK = "primary", "exploratory", "check"


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
    check: bool = False  # a check of the instrument, such as an identity: never evidence
    # Preconditions; a claim without them is `not answerable`.
    needs: list[str] = field(default_factory=list)  # claims that must be supported
    gate: str | None = None  # an arm trained at the longest length, which must use it on this text
    gate_tolerance: float = 0.02  # nats by which its loss at L may be above that of the subject
    # What training reaches is the question: an arm that is untrained or under-trained answers it.
    about_training: bool = False

    def __post_init__(self) -> None:
        dataclass_from.check(
            not (self.primary and self.check), "primary and check: expected one of them, or none"
        )
        match = PREDICTION.fullmatch(self.predict)
        dataclass_from.check(
            match is not None,
            f"predict={self.predict}: expected `above X`, `below X` or `within X`",
        )

    @property
    def role(self) -> str:
        return PRIMARY if self.primary else CHECK if self.check else EXPLORATORY

    @property
    def kind(self) -> str:
        return self.predict.partition(" ")[0]

    @property
    def threshold(self) -> float:
        return float(self.predict.partition(" ")[2])


@dataclass(frozen=True)
class Verdict:
    """p: adjusted, of the side that the word is on (the likelier one if undecided).

    reason: why it is not answerable, or at which rates it is what. at_common: the verdict at the
    common learning rates, own_word: that at each arm's own best, whose numbers these are.
    """

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
    reason: str = ""
    own_word: str = ""
    at_common: "Verdict | None" = None


def judge(
    claims: Mapping[str, Claim],
    measured: Mapping[str, "Measured"],
    unanswerable: Mapping[str, str] | None = None,
) -> list[Verdict]:
    """A verdict on every claim, in their order. unanswerable: claim -> why it cannot be answered.

    A claim that needs others is not answerable unless they are supported.
    """
    reasons = {name: reason for name, reason in (unanswerable or {}).items() if reason}
    while True:
        verdicts = _judge(claims, measured, reasons)
        words = {verdict.name: verdict.word for verdict in verdicts}
        missing = {
            name: "; ".join(
                f"it needs {needed}, which is {words[needed]}"
                for needed in claim.needs
                if words[needed] != SUPPORTED
            )
            for name, claim in claims.items()
            if name not in reasons
        }
        missing = {name: reason for name, reason in missing.items() if reason}
        if not missing:
            return verdicts
        reasons |= missing


def _judge(
    claims: Mapping[str, Claim], measured: Mapping[str, "Measured"], reasons: Mapping[str, str]
) -> list[Verdict]:
    sides = np.array(
        [
            (1.0, 1.0) if name in reasons else _sides(claim, measured[name])
            for name, claim in claims.items()
        ]
    )
    adjusted = np.ones_like(sides)  # column 0: for the claim, column 1: against it
    families: tuple[tuple[str, Callable], ...] = (
        (PRIMARY, multiplicity.holm),
        (EXPLORATORY, multiplicity.benjamini_hochberg),
        (CHECK, multiplicity.holm),
    )
    for role, correct in families:
        family = np.array([claim.role == role for claim in claims.values()])
        for side in (0, 1):
            adjusted[family, side] = correct(sides[family, side])
    return [
        _verdict(name, claim, measured[name], adjusted[i], reasons.get(name, ""))
        for i, (name, claim) in enumerate(claims.items())
    ]


def in_both(own: Sequence[Verdict], common: Sequence[Verdict]) -> list[Verdict]:
    """Verdicts at each arm's own best and at the common rates as one: the word that both have."""
    return [_in_both(*pair) for pair in zip(own, common, strict=True)]


def _in_both(own: Verdict, common: Verdict) -> Verdict:
    word, reason = own.word, own.reason
    if own.word != common.word:
        unknown = NOT_ANSWERABLE in (own.word, common.word)
        word = NOT_ANSWERABLE if unknown else UNDECIDED
        said = f"{own.word} at each arm's own best, {common.word} at the common rates"
        reason = "; ".join(filter(None, (said, own.reason or common.reason)))
    return replace(own, word=word, reason=reason, own_word=own.word, at_common=common)


def of_study(words: Iterable[str]) -> str:
    """A study's verdict from the words of its primary claims."""
    words = set(words)
    if REFUTED in words:
        return REFUTED
    return words.pop() if words in ({SUPPORTED}, {NOT_ANSWERABLE}) else UNDECIDED


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
    name: str, claim: Claim, measured: "Measured", adjusted: np.ndarray, reason: str
) -> Verdict:
    p_for, p_against = adjusted
    word = SUPPORTED if p_for <= ALPHA else REFUTED if p_against <= ALPHA else UNDECIDED
    word = NOT_ANSWERABLE if reason else word
    p, known = float(min(p_for, p_against)), (measured.detectable, *measured.counts)
    return Verdict(name, claim, word, *measured.bounds, p, *known, reason)
