"""The word for every subject of a study beyond its training length: fails, tolerates, uses, ...

By statistics/words.py on the matched protocol, over the seeds of the study, with every window that
was measured. Positions are in use against arms without any that were trained alike, under the same
condition, or where there is none against the subject's own shuffled positions.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lengthgen.errors import DataError
from lengthgen.statistics import words
from lengthgen.statistics.losses import Losses
from lengthgen.studies.losses import EvaluatedArm, Material

Row = dict[str, Any]
ALIKE = ("dataset", "model", "train_length", "steps", "batch_size", "optim")  # of the training


def rows(material: Material) -> list[Row]:
    """WORDS of every subject at every length beyond its training: subject to high."""
    return [row for subject in material.subjects.values() for row in _of_subject(material, subject)]


def _of_subject(material: Material, subject: EvaluatedArm) -> list[Row]:
    L = subject.train_length
    matched = _losses(subject, "matched")
    if matched is None or L not in matched.lengths:
        return []
    without = _without_positions(material, subject)
    baselines = {
        words.WITHOUT: _losses(without, "matched", [L]) if without else None,
        words.SHUFFLED: _losses(subject, "shuffled", [L]),
    }
    evidence = words.Evidence(
        subject.evaluations[0].scheme,
        L,
        matched,
        _losses(subject, "hard_window"),
        {name: baseline for name, baseline in baselines.items() if baseline},
    )
    found = []
    for length in matched.lengths:
        if length > L:
            answer = evidence.at(length)
            change = answer.estimates["failure"]
            row = {"subject": subject.name, "eval_length": length, "word": answer.word}
            numbers = {"change": change.value, "low": change.low, "high": change.high}
            found.append(row | {name: float(number[0]) for name, number in numbers.items()})
    return found


def _losses(
    subject: EvaluatedArm, protocol: str, wanted: Sequence[int] | None = None
) -> Losses | None:
    """Of all seeds, at the lengths that have losses (of those wanted); None without any."""
    evaluated = subject.evaluations[0].lengths(protocol)
    found = []
    for length in evaluated if wanted is None else [one for one in wanted if one in evaluated]:
        try:
            of_seeds = [one.stored(protocol, length) for one in subject.evaluations]
        except DataError:  # refused: its table says so
            continue
        first, seeds = of_seeds[0], [one.seed for one in subject.evaluations]
        made = first.by_document([one.losses for one in of_seeds], seeds=seeds)
        tables = [one.bigram for one in of_seeds if one.bigram is not None]
        known = len(tables) == len(of_seeds)
        of_table = first.by_document(tables).loss_sum if known else made.loss_sum * np.nan
        found.append(replace(made, bigram_sum=of_table))
    if not found:
        return None
    sums = (
        np.concatenate([getattr(one, name) for one in found], axis=1)
        for name in ("loss_sum", "n_tokens", "bigram_sum")
    )
    loss_sum, n_tokens, bigram_sum = sums
    lengths = tuple(length for one in found for length in one.lengths)
    return replace(
        found[0], loss_sum=loss_sum, n_tokens=n_tokens, bigram_sum=bigram_sum, lengths=lengths
    )


def _without_positions(material: Material, subject: EvaluatedArm) -> EvaluatedArm | None:
    condition = subject.name.partition("+")[2]
    for name, other in material.subjects.items():
        if name.partition("+")[2] == condition and words.is_without(other.evaluations[0].scheme):
            mine, its = subject.evaluations[0].config, other.evaluations[0].config
            if all(mine.get(key) == its.get(key) for key in ALIKE):
                return other
    return None
