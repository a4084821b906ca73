"""Several runs trained as one program: `together=true` in a sweep.

Runs that agree in everything but scheme, seed and text are stacked (model/stack.py) and brought to
the ends of their trainings. Each has its own folder, checkpoints and metrics, and resumes alone or
in other company. What cannot be stacked, or has a step that is not finite, is left to be trained
alone, as is what is missing after the training: evaluation, tables, figures (run.py).
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lengthgen import tracking
from lengthgen.data import batches
from lengthgen.errors import UserError, is_out_of_memory
from lengthgen.model import Transformer
from lengthgen.model import stack as stacking
from lengthgen.model.stack import Stack
from lengthgen.runs import (
    describing,
    diagnosing,
    evaluating,
    fit,
    length_curve,
    retrofitting,
    segments,
    step_plan,
    stopping,
)
from lengthgen.runs.after_steps import AfterSteps
from lengthgen.runs.prepare import Run, untrained_model
from lengthgen.runs.step_plan import StepPlan
from lengthgen.runs.windows import batch
from lengthgen.terminal.progress import Progress, clock
from lengthgen.training import checkpoint
from lengthgen.training import stacked as training
from lengthgen.training.ending import Ending

log = logging.getLogger(__name__)


@dataclass
class Trained:
    """One of the runs, on its way."""

    run: Run
    plan: StepPlan
    after: AfterSteps
    member: training.Member

    @property
    def step(self) -> int:
        return self.member.state.step


def fit_all(runs: Sequence[Run]) -> None:
    """Train those of the runs that can be trained together, each to its end. Interrupted.

    A run that another process works on, or that is damaged, is left to say so by itself.
    """
    with stopping.deferred() as stop:
        for alike in _groups(runs):
            _fit_group(alike, stop)


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Those that could share a program; a run without another like it is not among them."""
    groups: dict[str, list[Run]] = {}
    for run in {run.id: run for run in runs}.values():
        if not run.folder.ended:
            groups.setdefault(_what_is_shared(run), []).append(run)
    return [alike for alike in groups.values() if len(alike) > 1]


def _what_is_shared(run: Run) -> str:
    config, settings = run.config, run.config.settings
    shared = (
        config.model, config.optim, run.device, run.precision, run.splits.vocab_size,
        run.splits.answers is None, settings.train_length, settings.steps, settings.batch_size,
        settings.accumulate, settings.kernel, settings.linear, settings.compile,
    )  # fmt: skip
    return repr(shared)


def _obstacle(run: Run, model: Transformer) -> str:
    if run.config.start is not None:
        return "it starts from trained weights"
    if run.config.settings.settle is not None:
        return "its end depends on what it learns (settle)"
    return stacking.obstacle(model)


def _fit_group(runs: Sequence[Run], stop: stopping.StopRequest) -> None:
    with contextlib.ExitStack() as open_files:
        begun = []
        for run in runs:
            try:
                open_files.enter_context(run.folder.locked())
                open_files.enter_context(run.folder.logged())
                if one := _begin(run, stop, open_files):
                    begun.append(one)
            except UserError as error:
                log.warning("run %s is left out: %s", run.id, " ".join(str(error).split()))
        if len(begun) < 2:
            return
        steps = runs[0].config.settings.steps
        log.info("%d runs together: %s", len(begun), ", ".join(one.run.id for one in begun))
        with Progress("step", steps, min(one.step for one in begun), unit="step") as progress:
            ended = _to_the_end(begun, progress)
            log.info("trained %d runs together in %s", len(ended), clock(progress.seconds))
        for one in ended:
            weights = fit.save_ended(one.run, one.member.state, one.after.about())
            log.info("run %s: weights sha256 %s", one.run.id, weights)


def _begin(
    run: Run, stop: stopping.StopRequest, open_files: contextlib.ExitStack
) -> Trained | None:
    """The run as it stands. None where it has to be trained alone, or is trained already."""
    saved = fit.load(run)
    if saved is not None and (fit.is_over(saved) or "skips" in saved):
        return None
    # Whatever can refuse the run does so before the training.
    evaluating.plan(run)
    diagnosing.plan(run)
    model = untrained_model(run)
    retrofitting.check(run, model)
    if reason := _obstacle(run, model):
        log.info("run %s is trained alone: %s", run.id, reason)
        return None
    plan = step_plan.plan_of(run, model)
    settings = run.config.settings
    conditions = describing.describe(run, model, plan) | {segments.TOGETHER: True}
    state = training.StackedState(model, *fit.optimisation(run, model, lambda: settings.steps))
    segments.begin(run.folder, 0 if saved is None else saved["step"], conditions)
    writer = open_files.enter_context(fit.writer_of(run))
    curve = length_curve.plan(run) if settings.evaluate_every else ()
    progress, ending = Silent(), Ending(settings.steps)
    # W&B is told of the whole training when the run is completed, as after an interruption.
    unheard = tracking.unheard()
    after = AfterSteps(run, model, state, ending, unheard, progress, stop, writer, curve)
    with checkpoint.fitting(saved or {"step": 0}):
        after.begin(saved)
    store = fit.resident(run)
    member = training.Member(
        state,
        batch_at=lambda step: batch(run, store, settings.seed, step, settings.batch_size),
        before_step=lambda step: model.scheme.begin_step(step, settings.steps),
        after_reading=after,
    )
    return Trained(run, plan, after, member)


class Silent(Progress):
    """The progress of one of many: the line of all of them is enough."""

    def __init__(self) -> None:
        """Nothing is open, and nothing shown."""

    def advance(self, done: int, text: str = "", total: int | None = None) -> None: ...

    def move(self, done: int) -> None: ...


def _to_the_end(begun: Sequence[Trained], progress: Progress) -> list[Trained]:
    """Those furthest behind first, until all stand at the same step. Returns those that ended."""
    left, most = list(begun), len(begun)
    steps = begun[0].run.config.settings.steps
    while behind := [one for one in left if one.step < steps]:
        first = min(one.step for one in behind)
        some = [one for one in behind if one.step == first][:most]
        others = [one.step for one in behind if one.step > first]
        try:
            _train(some, min([*others, steps]), progress)
            continue
        except training.NotFinite as refused:
            leaving = [one for one in some if one.member in refused.members]
            why = str(refused)
        except Exception as error:
            if isinstance(error, UserError):
                raise
            leaving = [] if is_out_of_memory(error) and len(some) > 1 else some
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        # Outside the except block, whose traceback would keep the failed step's tensors alive.
        if not leaving:
            most = (len(some) + 1) // 2
            log.warning("out of memory with %d runs at a time: going on with %d", len(some), most)
            torch.cuda.empty_cache()
        for one in leaving:
            log.warning("run %s goes on alone: %s", one.run.id, why)
            if one.step:
                one.after.save(one.step)
            left.remove(one)
    return left


def _train(some: Sequence[Trained], until: int, progress: Progress) -> None:
    """These runs, which stand at the same step, up to step `until`."""
    run, plan = some[0].run, some[0].plan
    settings, members = run.config.settings, [one.member for one in some]
    states = [member.state for member in members]
    stack = Stack([one.after.model for one in some])
    optimizer = training.StackedOptimizer(stack, states, run.config.optim)
    total_losses: Callable[..., Any] = stack.total_losses
    if plan.compile:
        total_losses = torch.compile(total_losses)

    def shown(reports: Sequence[Any]) -> None:
        step = reports[0].step
        if step % settings.log_every and step != settings.steps:
            progress.move(step)
            return
        losses = [report.loss for report in reports]
        speed = sum(report.tokens for report in reports) / reports[0].seconds / 1000
        progress.advance(
            step, f"loss {min(losses):.4f} to {max(losses):.4f}  {speed:.1f}k tokens/s"
        )

    training.train(
        members,
        stack,
        optimizer,
        steps=until,
        accumulate=plan.accumulate,
        clip=run.config.optim.clip,
        total_losses=total_losses,
        n_scored=Tensor.numel if run.splits.answers is None else batches.n_scored,
        autocast=run.autocast,
        after_step=shown,
    )
