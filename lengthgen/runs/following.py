"""What the ranks but the first do in a training: the same steps, and no file."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lengthgen.errors import ConfigError
from lengthgen.runs import dashboard, step_plan
from lengthgen.runs.fit import fit
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.prepare import Run, prepare, untrained_model
from lengthgen.runs.train_config import TrainConfig
from lengthgen.training.ranks import Ranks


class ReadFolder(RunFolder):
    """The first rank's folder, in which this one writes nothing."""

    def note(self, facts: Mapping[str, Any]) -> None: ...

    def add_metrics(self, row: Mapping[str, Any]) -> None: ...

    def forget_metrics_after(self, step: int) -> None: ...


def prepared(config: TrainConfig, ranks: Ranks) -> Run:
    """The run, which each rank prepares for itself. ConfigError where they differ."""
    # In turn: the others find the tokenised text that the first one leaves behind.
    run = ranks.in_turn(lambda: prepare(config, ranks))
    if (name := ranks.from_first(run.id)) != run.id:
        raise ConfigError(
            f"rank {ranks.rank} would train run {run.id}, and the first one {name}: expected the "
            "same command, data and code on every rank"
        )
    return run


def follow(run: Run) -> bool:
    """Train as the first rank does, if it does. Returns whether."""
    if not run.ranks.from_first(False):
        return False
    config = dataclasses.replace(run.config, tracking={"name": "none"})
    run = dataclasses.replace(run, config=config, folder=ReadFolder(run.folder.path))
    model = untrained_model(run)
    with dashboard.tracked(run) as tracker:
        fit(run, model, tracker, step_plan.plan_of(run, model), {})
    return True
