"""The training of one run: resumed at its newest checkpoint, brought to its end, and saved."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lengthgen.data import batches
from lengthgen.data.tokens import TokenStore
from lengthgen.errors import CheckpointError
from lengthgen.model import Transformer
from lengthgen.runs import extending, length_curve, segments, spreading, stopping
from lengthgen.runs.after_steps import AfterSteps, TooManyInARow
from lengthgen.runs.prepare import Run
from lengthgen.runs.step_plan import StepPlan
from lengthgen.runs.windows import training_batch, unigram_loss
from lengthgen.terminal.progress import Progress, clock
from lengthgen.tracking import Tracker
from lengthgen.training import checkpoint, optim
from lengthgen.training import loop as training
from lengthgen.training.ending import Ending

log = logging.getLogger(__name__)
RESIDENT = 0.1  # share of a GPU's memory that the training text may take
PLATEAU = 0.1  # nats below token frequencies: a training that is not there has not begun to learn


@dataclass(frozen=True)
class Fitted:
    """trained: was anything left to train? about: how the training ended, and what it skipped."""

    trained: bool
    about: dict[str, Any]


def fit(
    run: Run, model: Transformer, tracker: Tracker, plan: StepPlan, conditions: Mapping[str, Any]
) -> Fitted:
    """Bring the model to the end of its training. `plan` changes where memory or kernels fail.

    conditions: what decides the bits of its steps (segments.py).
    """
    settings, folder = run.config.settings, run.folder
    saved = load(run)
    if saved is not None and not folder.ended:
        tracker.resumed(folder.metrics_until(saved["step"]))
    if saved is not None and is_over(saved):
        return _finished(run, model, saved)
    if saved is None:
        extending.load_weights(run.config, model)
    ending = _ending(run)
    plan, parallel, state_class = spreading.spread(run, plan)
    trained = plan.model
    state = state_class(trained, *optimisation(run, trained, lambda: ending.last))
    if saved is not None:
        log.info("resuming at step %d of %d", saved["step"], settings.steps)
    begun = 0 if saved is None else saved["step"]
    segments.begin(folder, begun, conditions)
    with stopping.deferred(run.ranks.size > 1) as stop, writer_of(run) as writer:
        curve = length_curve.plan(run) if settings.evaluate_every else ()
        with Progress("step", settings.steps, begun, unit="step") as progress:
            after = AfterSteps(
                run, trained, state, ending, tracker, progress, stop, writer, curve,
                parallel=parallel,
            )  # fmt: skip
            with checkpoint.fitting(saved or {"step": 0}):
                after.begin(saved)
            _to_the_end(run, state, plan, ending, after)
        about = after.about()
        weights = save_ended(run, state, about, model)
        time_taken = clock(progress.seconds)
        log.info("trained in %s (this session); weights sha256 %s", time_taken, weights)
    return Fitted(True, about)


def load(run: Run) -> dict[str, Any] | None:
    """The newest checkpoint; None before the first. CheckpointError where the run has ended."""
    saved = spreading.newest(run)
    if saved is None and run.folder.ended:
        raise CheckpointError(
            f"run {run.id} is finished but its weights are gone or damaged; "
            f"delete {run.folder.path} and train again"
        )
    return saved


def is_over(saved: Mapping[str, Any]) -> bool:
    """Whether this checkpoint is the last: nobody resumes a training that has ended."""
    return "optimizer" not in saved


def optimisation(
    run: Run, model: Transformer, last: Callable[[], int]
) -> tuple[Optimizer, LRScheduler]:
    """The optimiser and its learning rate. last: the last step, as far as it is known."""
    config = run.config.optim
    optimizer = optim.make_optimizer(model, config)
    return optimizer, optim.make_scheduler(optimizer, config, run.config.settings.steps, last)


def writer_of(run: Run) -> checkpoint.Writer:
    return checkpoint.Writer(background=run.device.type == "cuda", writes=run.ranks.first)


def save_ended(
    run: Run, state: training.TrainState, about: Mapping[str, Any], whole: Transformer | None = None
) -> str:
    """The last checkpoint, without the optimiser. Returns the SHA-256 of the weights.

    whole: gets the weights, where the model of the state is a copy of it in parts.
    """
    model = cast(Transformer, state.model)
    if whole is None or whole is model:
        weights = model.state_dict()
    else:
        weights, model = state.state_dict()["model"], whole
        model.load_state_dict(weights)
        model.to(run.device)
    content = {"model": weights, "step": state.step, "training": about}
    keep = run.config.settings.keep_checkpoints
    if run.ranks.first:
        checkpoint.save(run.folder.checkpoints, state.step, content, keep, run.id)
    model.scheme.begin_step(state.step, state.step)
    return checkpoint.weights_sha256(model)


def _finished(run: Run, model: Transformer, saved: dict[str, Any]) -> Fitted:
    """The weights of a training that came to its end before."""
    with checkpoint.fitting(saved):
        model.load_state_dict(saved["model"])
    run.folder.check_weights(checkpoint.weights_sha256(model))
    model.scheme.begin_step(saved["step"], saved["step"])
    return Fitted(False, saved.get("training", {}))


def _to_the_end(
    run: Run, state: training.TrainState, plan: StepPlan, ending: Ending, after: AfterSteps
) -> None:
    """In stages: after each one the ending may have moved, or the plan."""

    def scored(targets: Tensor) -> Tensor:
        return run.ranks.mean(batches.n_scored(targets))

    settings, store, begun = run.config.settings, resident(run), state.step
    scheme = plan.model.scheme
    while state.step < ending.last:
        goes_back = False
        try:
            training.train(
                state,
                lambda step: training_batch(run, store, step),
                steps=ending.next_stop(state.step),
                seed=settings.seed,
                accumulate=plan.accumulate,
                clip=run.config.optim.clip,
                total_loss=plan.total_loss,
                n_scored=Tensor.numel if run.splits.answers is None else scored,
                autocast=run.autocast,
                before_step=lambda step: scheme.begin_step(step, ending.last),
                read_after=after.reads,
                after_reading=after,
                left_out=after.skips.left_out,
                parallel=after.parallel,
            )
        except TooManyInARow:
            goes_back = True
        except Exception as error:
            plan.give_way(error, first=state.step == begun)
        else:
            continue
        plan.clear(state)
        if goes_back:
            after.go_back()
        else:
            run.folder.note(plan.facts())


def _ending(run: Run) -> Ending:
    settings = run.config.settings
    if settings.settle is None:
        return Ending(settings.steps)
    optim_config = run.config.optim
    warm = optim.warm_up(optim_config, settings.steps)
    level = unigram_loss(run) - PLATEAU
    return Ending(settings.steps, settings.settle, optim_config.decay, warm, level)


def resident(run: Run) -> TokenStore:
    """The training text on a GPU, where the batches are then cut.

    In the host's memory where Python looks for answers in them, or it is too large.
    """
    store = run.splits.train
    if run.device.type != "cuda" or run.splits.answers is not None:
        return store
    room = RESIDENT * torch.cuda.get_device_properties(run.device).total_memory
    stream = store.stream.to(run.device) if store.stream.nbytes <= room else store.stream
    return dataclasses.replace(store, stream=stream)
