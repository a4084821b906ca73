"""One claim of a study, as it is declared: what is said, what is measured, and the sign and threshold that are predicted."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lengthgen.config import dataclass_from

PREDICTION = re.compile(r"(?P<kind>above|below|within) (?P<threshold>-?\d+(\.\d+)?)")


SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"


def of_study(words: Iterable[str]) -> str:
    """A study's verdict from those of its primary claims: supported if all are, refuted if one is, else undecided."""
    found = set(words)
    return REFUTED if REFUTED in found else SUPPORTED if found == {SUPPORTED} else UNDECIDED


@dataclass
class Claim:
    claim: str = ""  # in words
    measure: str = ""  # a name of measures.py
    subject: str = ""  # arm, or arm+condition
    baseline: str | None = (
        None  # arm (or arm+condition) whose measure is taken off, seed by seed and document by document
    )
    length_factor: float | None = None  # evaluation length / train_length
    window: float | None = None  # tokens / train_length, of the measure beyond_window
    protocol: str | None = None  # null: the measure's own
    predict: str = ""  # above X | below X | within X
    primary: bool = False  # one of those that decide the study

    def __post_init__(self):
        dataclass_from.check(
            bool(PREDICTION.fullmatch(self.predict)),
            f"predict={self.predict}: expected `above X`, `below X` or `within X`",
        )

    @property
    def kind(self) -> str:
        return PREDICTION.fullmatch(self.predict)["kind"]

    @property
    def threshold(self) -> float:
        return float(PREDICTION.fullmatch(self.predict)["threshold"])
