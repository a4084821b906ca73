"""The word for every subject of a study beyond its training length: fails, tolerates, uses, ...

By the rules of statistics/fails_or_uses.py on the matched protocol, over the seeds of the study.
Positions are in use against arms without any, on the same data and under the same condition, or
where there is none against the subject's own shuffled positions.
"""

from typing import Any

import numpy as np

from lengthgen.errors import DataError
from lengthgen.evaluation.stored import Stored
from lengthgen.statistics import fails_or_uses, words
from lengthgen.statistics.comparisons import Estimate
from lengthgen.statistics.paired import Paired
from lengthgen.studies.losses import EvaluatedArm, Material
from lengthgen.studies.measured import Mean

Row = dict[str, Any]
ALIKE = ("dataset", "model", "train_length", "steps", "batch_size", "optim")  # of the training


def rows(material: Material) -> list[Row]:
    """WORDS of every subject at every length beyond its training, but for trained_on's columns."""
    return [row for subject in material.subjects.values() for row in _of_subject(material, subject)]


def _of_subject(material: Material, subject: EvaluatedArm) -> list[Row]:
    L, found = subject.train_length, []
    for length in subject.evaluations[0].lengths("matched"):
        if length <= L:
            continue
        try:
            short, long = (subject.total("matched", n) for n in (L, length))
        except DataError:  # refused: its table says so
            continue
        change = Mean(long.minus(short))
        (word,) = fails_or_uses.classify(
            change.estimate,
            [Mean(short.minus(long)).estimate],
            competence=_competence(subject),
            in_use=_in_use(material, subject, short),
        )
        value, low, high = change.bounds
        found.append(
            {
                "subject": subject.name,
                "eval_length": length,
                "word": word,
                "change": value,
                "low": low,
                "high": high,
            }
        )
    return found


def _competence(subject: EvaluatedArm) -> Estimate | None:
    """How far the loss at L is below that of a bigram table; None of an evaluation without one."""
    L = subject.train_length
    if any(one.stored("matched", L).bigram is None for one in subject.evaluations):
        return None
    return Mean(subject.total("matched", L, _below_bigram)).estimate


def _below_bigram(one: Stored) -> np.ndarray:
    assert one.bigram is not None
    return one.bigram - one.losses


def _in_use(material: Material, subject: EvaluatedArm, short: Paired) -> Estimate | None:
    """How far the loss at L is below one without positions in use; None of a model without any."""
    if words.is_without(subject.evaluations[0].scheme):
        return None
    L, without = subject.train_length, _without_positions(material, subject)
    if without:
        return Mean(without.total("matched", L).minus(short)).estimate
    if L in subject.evaluations[0].lengths("shuffled"):
        return Mean(subject.total("shuffled", L).minus(short)).estimate
    return None


def _without_positions(material: Material, subject: EvaluatedArm) -> EvaluatedArm | None:
    """The arm without positions that was trained alike, under the same condition if there is."""
    condition = subject.name.partition("+")[2]
    for name, other in material.subjects.items():
        if name.partition("+")[2] == condition and words.is_without(other.evaluations[0].scheme):
            mine, its = subject.evaluations[0].config, other.evaluations[0].config
            same = all(mine.get(key) == its.get(key) for key in ALIKE)
            if same and len(other.evaluations) == len(subject.evaluations):
                return other
    return None
