"""Each arm's own best point of a grid of learning rates, chosen by the loss at the training length.

Never by a loss beyond it: that is what the study asks about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lengthgen.studies.declaration import Study
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun
from lengthgen.studies.measured import Mean
from lengthgen.studies.parts import Point, Scale
from lengthgen.studies.running import JobResult

Row = dict[str, Any]
TARGETS = ("matched", "whole")  # protocols that score the same targets: the first that there is


@dataclass(frozen=True)
class Choice:
    """own: arm -> its best point. common: arm -> the declared one. rows: RATES of all points."""

    own: Mapping[str, Point]
    common: Mapping[str, Point]
    rows: Sequence[Row]

    @property
    def moved(self) -> dict[str, Point]:
        """The arms whose best is not the common one, with their best."""
        return {arm: point for arm, point in self.own.items() if point != self.common[arm]}


def choose(study: Study, scale: Scale, results: Sequence[JobResult]) -> Choice:
    """The best point of every arm: the lowest mean over the first seeds of the loss at L."""
    own, common, rows = {}, {}, []
    for arm in study.arms:
        points, common[arm] = study.points(arm, scale)
        own[arm] = common[arm]
        if not points:
            continue
        of_arm = {point: _row(study, scale, results, arm, point) for point in points}
        known = {point: row for point, row in of_arm.items() if row["status"] == "ok"}
        # The common point where none is better.
        own[arm] = min(known, key=lambda p: (known[p]["loss"], p != common[arm]), default=own[arm])
        for point, row in of_arm.items():
            row |= {"best": point == own[arm], "common": point == common[arm]}
            row["edge"] = row["best"] and _at_edge(points, point)
            rows.append(row)
    return Choice(own, common, rows)


def loss_at_training_length(subject: EvaluatedArm) -> Mean:
    """DataError if the training length was not evaluated."""
    evaluated = subject.evaluations[0]
    protocol = next((name for name in TARGETS if evaluated.lengths(name)), TARGETS[0])
    return Mean(subject.total(protocol, subject.train_length))


def _row(study: Study, scale: Scale, results: Sequence[JobResult], arm: str, point: Point) -> Row:
    """RATES of one point, over the seeds that choose."""
    seeds = range(min(study.grid.seeds if study.grid else 0, scale.seeds_of(arm)))
    here = {
        one.job.seed: one
        for one in results
        if (one.job.arm, one.job.point) == (arm, point) and one.job.seed in seeds
    }
    row: Row = {"arm": arm, "point": " ".join(point), "n_seeds": len(here)}
    diverged = [seed for seed, one in sorted(here.items()) if one.diverged]
    if diverged:
        return row | {"status": f"diverged (seed {', '.join(map(str, diverged))})"}
    runs = [EvaluatedRun(dict(here[seed].evaluations)[""]) for seed in sorted(here)]
    value, low, high = loss_at_training_length(EvaluatedArm(arm, runs)).bounds
    return row | {"loss": value, "low": low, "high": high, "status": "ok"}


def _at_edge(points: Sequence[Point], point: Point) -> bool:
    """Whether one of its values is the least or the greatest tried: a better one may lie beyond."""
    for place, override in enumerate(point):
        tried = sorted({float(other[place].partition("=")[2]) for other in points})
        if float(override.partition("=")[2]) in (tried[0], tried[-1]) and len(tried) > 1:
            return True
    return False
