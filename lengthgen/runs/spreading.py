"""A run's training over its ranks: what each has of it, and the checkpoint that all go on from."""

import copy
import dataclasses
import math
from typing import Any

from lengthgen.errors import CheckpointError
from lengthgen.model import Transformer
from lengthgen.runs.prepare import Run
from lengthgen.runs.step_plan import StepPlan
from lengthgen.training import checkpoint
from lengthgen.training.loop import TrainState
from lengthgen.training.parallel import IN_ONE_PROCESS, Parallel, Replicated


def spread(run: Run, plan: StepPlan) -> tuple[StepPlan, Parallel, type[TrainState]]:
    """The plan of this rank with its model, how gradients come together, the class of its state.

    sharding=fsdp: the plan's model waits on the CPU; a copy of it, in parts, is trained.
    """
    if run.ranks.size == 1:
        return plan, IN_ONE_PROCESS, TrainState
    model = plan.model
    if run.config.settings.sharding == "none":
        return plan, Replicated(run.ranks, model, plan.total_loss), TrainState
    from lengthgen.training.sharded import Sharded, ShardedState  # takes a second to import

    model.to("cpu")
    parts: Transformer = copy.deepcopy(model)
    parallel = Sharded(run.ranks, parts, parts.total_loss, parts.blocks, run.device.type)
    return dataclasses.replace(plan, model=parts), parallel, ShardedState


def newest(run: Run, before: float = math.inf) -> dict[str, Any] | None:
    """The newest whole checkpoint after fewer than `before` steps: the first rank chooses it."""
    folder, ranks, saved = run.folder.checkpoints, run.ranks, None
    sharded = ranks.size > 1 and run.config.settings.sharding == "fsdp"
    device = "cpu" if sharded else run.device
    if ranks.first:
        saved = checkpoint.load_newest(folder, device, run.id, before)
    step = ranks.from_first(saved["step"] if saved else None)
    if not ranks.first and step is not None:
        saved = checkpoint.load(folder, step, device, run.id)
        if saved is None:
            raise CheckpointError(
                f"rank {ranks.rank} cannot read the checkpoint of step {step} in {folder}: "
                "expected a folder that the machines of all ranks share"
            )
    return saved
