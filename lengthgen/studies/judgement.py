"""The verdict on a claim that was declared beforehand: supported, refuted or undecided; and on the study that it belongs to.

| prediction | supported when | refuted when |
|---|---|---|
| above X | the measure is surely above X | surely below X |
| below X | surely below X | surely above X |
| within X | surely between -X and X (two one-sided tests) | surely below -X or above X |

Surely: by the two-way Student test over seeds and documents (evaluation/variance.py) at 0.05, two-sided where a sign is claimed. The
primary claims of a study share that error rate (Holm); the p-values of the others are adjusted for false discoveries (Benjamini and
Hochberg) and those claims are labelled exploratory. Supports and refutations are families of their own.

A study is supported if all of its primary claims are, refuted if one is refuted, else undecided.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lengthgen.statistics import multiplicity
from lengthgen.studies import claims
from lengthgen.studies.claims import REFUTED, SUPPORTED, UNDECIDED, Claim
from lengthgen.studies.measured import Measured

ALPHA = 0.05


@dataclass(frozen=True)
class Verdict:
    """On one claim. p: adjusted, of the side that the word is on (of the likelier side where undecided). detectable: see measures.py."""

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


def judge(declared: Mapping[str, Claim], measured: Mapping[str, Measured]) -> list[Verdict]:
    """A verdict on every claim, in their order."""
    names = list(declared)
    adjusted = np.ones((2, len(names)))
    for primary, correct in ((True, multiplicity.holm), (False, multiplicity.benjamini_hochberg)):
        members = [i for i, name in enumerate(names) if declared[name].primary == primary]
        p = np.array([_sides(declared[names[i]], measured[names[i]]) for i in members]).reshape(
            -1, 2
        )
        for side in (0, 1):
            adjusted[side, members] = correct(p[:, side])
    return [
        _verdict(name, declared[name], measured[name], adjusted[:, i])
        for i, name in enumerate(names)
    ]


def of_study(verdicts: list[Verdict]) -> str:
    return claims.of_study(verdict.word for verdict in verdicts if verdict.claim.primary)


def _sides(claim: Claim, found: Measured) -> tuple[float, float]:
    """(p of the claim being wrong, p of its contrary being wrong): small is evidence for the claim, or against it."""
    threshold = claim.threshold
    if claim.kind == "within":
        return found.within(threshold), min(
            1.0, 2 * min(found.above(threshold), found.below(-threshold))
        )
    sides = 2 * found.above(threshold), 2 * found.below(threshold)
    return tuple(min(1.0, p) for p in (sides if claim.kind == "above" else sides[::-1]))


def _verdict(name: str, claim: Claim, found: Measured, adjusted: np.ndarray) -> Verdict:
    for_it, against = adjusted
    word = SUPPORTED if for_it <= ALPHA else REFUTED if against <= ALPHA else UNDECIDED
    return Verdict(
        name,
        claim,
        word,
        *found.bounds,
        float(min(for_it, against)),
        found.detectable,
        *found.counts,
    )
