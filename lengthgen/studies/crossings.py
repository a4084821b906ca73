"""How far each scheme is from a baseline, by the size of the corpus and by evaluation length.

Paired differences of arms as trained, on the same text, trained at the same length on as many
tokens; below 0: ahead of the baseline. For a look at where schemes cross, not for a verdict: every
cell has its own 95 % interval, and nothing is corrected for their number.
"""

from collections.abc import Iterator
from typing import Any

from lengthgen.errors import DataError
from lengthgen.studies.declaration import Study
from lengthgen.studies.losses import EvaluatedArm, Material
from lengthgen.studies.measured import Mean

Row = dict[str, Any]


def rows(study: Study, material: Material) -> list[Row]:
    """DIFFERENCES of every arm from those of the schemes that the study names in `against`."""
    arms = [material[name] for name in study.arms]
    return [
        row
        for scheme in study.against
        for baseline in arms
        if baseline.evaluations[0].scheme == scheme
        for subject in arms
        if subject.evaluations[0].scheme != scheme and _trained_on(subject) == _trained_on(baseline)
        for row in _differences(subject, baseline)
    ]


def _differences(subject: EvaluatedArm, baseline: EvaluatedArm) -> Iterator[Row]:
    dataset, train_length, corpus = _trained_on(subject)
    for length in subject.evaluations[0].lengths("matched"):
        try:
            losses = subject.total("matched", length), baseline.total("matched", length)
        except DataError:  # refused by one of them: its table says so
            continue
        difference = Mean(losses[0].minus(losses[1]))
        value, low, high = difference.bounds
        n_seeds, n_documents = difference.counts
        yield {
            "subject": subject.name,
            "baseline": baseline.evaluations[0].scheme,
            "scheme": subject.evaluations[0].scheme,
            "dataset": dataset,
            "train_length": train_length,
            "corpus": corpus,
            "eval_length": length,
            "value": value,
            "low": low,
            "high": high,
            "n_seeds": n_seeds,
            "n_documents": n_documents,
        }


def _trained_on(arm: EvaluatedArm) -> tuple[str, int, int | None]:
    """(dataset, training length, tokens of the corpus or None for all)."""
    first = arm.evaluations[0]
    return first.dataset, arm.train_length, first.config["dataset"].get("train_tokens")
