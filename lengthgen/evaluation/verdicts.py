"""What may be said of a comparison: superior, inferior, equivalent or undecided. Never `no difference`.

A claim says beforehand what it is about: a difference, or an equivalence within delta. At most six claims are primary: together they
have one error rate (Holm). All others are exploratory, carry a q-value (Benjamini and Hochberg, differences and equivalences
apart), and say so. An absent difference is a claim of its own: a large p-value is `undecided`.

Shape letters: A columns of an estimate; a claim has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lengthgen.errors import ConfigError
from lengthgen.statistics import multiplicity, significance
from lengthgen.statistics.comparisons import Estimate

ALPHA = 0.05
MOST_PRIMARY = 6
KINDS = ("difference", "equivalence")


@dataclass(frozen=True)
class Claim:
    """Column `column` of an estimate, and what is claimed of it. delta: nats, the largest difference that counts as none."""

    name: str
    estimate: Estimate
    column: int = 0
    kind: str = "difference"
    primary: bool = False
    delta: float = significance.DELTA


@dataclass(frozen=True)
class Verdict:
    """word: superior | inferior | equivalent | undecided. value, low, high in nats a token, below 0 is less loss than the baseline.

    adjusted: p after Holm (primary) or q (exploratory) of the claim's kind; negligible: the 95 % interval lies within delta, so that
    even a difference that is there is too small to matter.
    """

    name: str
    label: str
    kind: str
    word: str
    value: float
    low: float
    high: float
    p: float
    adjusted: float
    negligible: bool

    def __str__(self) -> str:
        said = (
            f"{self.word}, by a negligible amount"
            if self.negligible and self.word in ("superior", "inferior")
            else self.word
        )
        correction = "Holm p" if self.label == "primary" else "q"
        interval = f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}] nats"
        return f"{self.name}: {said} ({interval}, {correction} {self.adjusted:.2g}, {self.label})"


def word(value: float, p_difference: float, p_equivalence: float, alpha: float = ALPHA) -> str:
    """The word for one comparison by itself. A difference that is there is named before an equivalence."""
    if p_difference <= alpha:
        return "superior" if value < 0 else "inferior"
    return "equivalent" if p_equivalence <= alpha else "undecided"


def judge(claims: Sequence[Claim], alpha: float = ALPHA) -> list[Verdict]:
    """A verdict for each claim, in their order. ConfigError for more than six primary claims or an unknown kind.

    A claim is decided by the test of its own kind alone; the family that its p-value is corrected in is all primary claims, or
    all exploratory ones of its kind.
    """
    for claim in claims:
        if claim.kind not in KINDS:
            raise ConfigError(
                f"claim {claim.name}: kind={claim.kind}; expected {' or '.join(KINDS)}"
            )
    n_primary = sum(claim.primary for claim in claims)
    if n_primary > MOST_PRIMARY:
        raise ConfigError(
            f"{n_primary} primary claims; expected at most {MOST_PRIMARY}: declare the others exploratory"
        )
    p = np.array([_p(claim) for claim in claims])
    adjusted = np.full(len(claims), np.nan)
    families = [
        ("primary", multiplicity.holm),
        *((kind, multiplicity.benjamini_hochberg) for kind in KINDS),
    ]
    for family, correct in families:
        members = [
            i
            for i, claim in enumerate(claims)
            if ("primary" if claim.primary else claim.kind) == family
        ]
        adjusted[members] = correct(p[members])
    return [_verdict(claim, p[i], adjusted[i], alpha) for i, claim in enumerate(claims)]


def _p(claim: Claim) -> float:
    values = (
        claim.estimate.p
        if claim.kind == "difference"
        else significance.equivalence(claim.estimate, claim.delta)
    )
    return float(values[claim.column])


def _verdict(claim: Claim, p: float, adjusted: float, alpha: float) -> Verdict:
    value, low, high = (
        float(values[claim.column])
        for values in (claim.estimate.value, claim.estimate.low, claim.estimate.high)
    )
    known = (adjusted, 1.0) if claim.kind == "difference" else (1.0, adjusted)
    negligible = -claim.delta < low and high < claim.delta
    label = "primary" if claim.primary else "exploratory"
    return Verdict(
        claim.name,
        label,
        claim.kind,
        word(value, *known, alpha),
        value,
        low,
        high,
        p,
        adjusted,
        negligible,
    )
