"""The training of one run: resuming, what is reported and saved after a step, stop on request."""

import contextlib
import dataclasses
import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from lengthgen import files
from lengthgen.data import batches
from lengthgen.data.tokens import TokenStore
from lengthgen.errors import CheckpointError, Interrupted
from lengthgen.evaluation import unigram
from lengthgen.model import Transformer
from lengthgen.runs import segments
from lengthgen.runs.prepare import Run
from lengthgen.runs.progress import Progress, clock
from lengthgen.runs.step_plan import StepPlan
from lengthgen.tracking import Tracker
from lengthgen.training import checkpoint, optim
from lengthgen.training import loop as training
from lengthgen.training.ending import Ending

log = logging.getLogger(__name__)
# Held-out windows of the training length, for the loss shown during training.
VALIDATION_WINDOWS = 32
RESIDENT = 0.1  # share of a GPU's memory that the training text may take
PLATEAU = 0.1  # nats below token frequencies: a training that is not there has not begun to learn


@dataclass(frozen=True)
class Fitted:
    """trained: was anything left to train? about: how the training ended (Ending.about)."""

    trained: bool
    about: dict[str, Any]


def fit(
    run: Run, model: Transformer, tracker: Tracker, plan: StepPlan, conditions: Mapping[str, Any]
) -> Fitted:
    """Bring the model to the end of its training. `plan` changes where memory or kernels fail.

    conditions: what decides the bits of its steps (segments.py).
    """
    settings, folder = run.config.settings, run.folder
    saved = checkpoint.load_newest(folder.checkpoints, run.device, run.id)
    if saved is not None and "optimizer" not in saved:
        model.load_state_dict(saved["model"])
        folder.check_weights(checkpoint.weights_sha256(model))
        model.scheme.begin_step(saved["step"], saved["step"])
        return Fitted(False, saved.get("training", {}))
    if saved is None and folder.ended:
        raise CheckpointError(
            f"run {run.id} is finished but its weights are gone or damaged; "
            f"delete {folder.path} and train again"
        )
    ending = _ending(run)
    optimizer = optim.make_optimizer(model, run.config.optim)
    scheduler = optim.make_scheduler(
        optimizer, run.config.optim, settings.steps, lambda: ending.last
    )
    state = training.TrainState(model, optimizer, scheduler)
    if saved is not None:
        state.load_state_dict(saved)
        ending.load_state_dict(saved.get("ending", {"losses": {}, "settled_at": None}))
        log.info("resuming at step %d of %d", state.step, settings.steps)
    segments.begin(folder, state.step, conditions)
    folder.forget_metrics_after(state.step)
    progress = Progress("step", settings.steps, state.step)
    store, background = _resident(run), run.device.type == "cuda"
    with stop_requested() as stop, checkpoint.Writer(background) as writer:
        after = _AfterSteps(run, model, state, ending, tracker, progress, stop, writer)
        begun = state.step
        # In stages: after each one the ending may have moved, or the plan.
        while state.step < ending.last:
            try:
                training.train(
                    state,
                    lambda step: _batch(run, store, settings.seed, step, settings.batch_size),
                    steps=ending.next_stop(state.step),
                    seed=settings.seed,
                    accumulate=plan.accumulate,
                    clip=run.config.optim.clip,
                    total_loss=plan.total_loss,
                    n_scored=Tensor.numel if run.splits.answers is None else batches.n_scored,
                    autocast=run.autocast,
                    before_step=lambda step: model.scheme.begin_step(step, ending.last),
                    read_after=after.reads,
                    after_reading=after,
                )
            except Exception as error:
                plan.give_way(error, first=state.step == begun)
            else:
                continue
            plan.clear(state)
            run.folder.note(plan.facts())
    progress.close()
    about = ending.about()
    # Nobody resumes a finished training: its last checkpoint leaves the optimiser out.
    content = {"model": model.state_dict(), "step": state.step, "training": about}
    checkpoint.save(folder.checkpoints, state.step, content, settings.keep_checkpoints, run.id)
    model.scheme.begin_step(state.step, state.step)
    weights = checkpoint.weights_sha256(model)
    log.info("trained in %s (this session); weights sha256 %s", clock(progress.seconds), weights)
    return Fitted(True, about)


def _ending(run: Run) -> Ending:
    settings = run.config.settings
    if settings.settle is None:
        return Ending(settings.steps)
    _, targets = _validation_batch(run)
    scored = targets[targets != batches.UNSCORED]  # answers alone, where the data have some
    level = unigram.loss_of(run.splits, scored.cpu().numpy())
    optim_config = run.config.optim
    warm = optim.warm_up(optim_config, settings.steps)
    return Ending(settings.steps, settings.settle, optim_config.decay, warm, level - PLATEAU)


@dataclass
class StopRequest:
    signal: int = 0  # the number of the signal that asked for it; 0: none did


@dataclass
class _AfterSteps:
    """What happens after steps: metrics, validation, checkpoint, stop on request."""

    run: Run
    model: Transformer
    state: training.TrainState
    ending: Ending
    tracker: Tracker
    progress: Progress
    stop: StopRequest
    writer: checkpoint.Writer
    # since the last line of metrics
    since: list[training.StepReport] = field(default_factory=list)
    saved: float = field(default_factory=time.monotonic)  # when the last checkpoint was

    def reads(self, step: int) -> bool:
        """Whether the host waits for the numbers of this step. On CPU they are there."""
        return self.run.device.type == "cpu" or any(
            (self._logs(step), self._validates(step), self._saves(step), self._keeps(step))
        )

    def __call__(self, reports: Sequence[training.StepReport]) -> None:
        self.since += reports
        self._log(reports[-1])
        step, settings = reports[-1].step, self.run.config.settings
        if self._saves(step):
            content = self.state.state_dict() | {"ending": self.ending.state_dict()}
            folder, keep = self.run.folder.checkpoints, settings.keep_checkpoints
            self.writer.save(folder, step, content, keep, self.run.id)
            self.saved = time.monotonic()
        if self._keeps(step):
            kept = {"model": self.model.state_dict(), "step": step}
            folder = self.run.folder.kept_weights
            self.writer.save(folder, step, kept, keep=None, run=self.run.id)
        if self.stop.signal and step < self.ending.last:
            where = f"stopped at step {step} of {settings.steps}"
            raise Interrupted(f"{where}; rerun the same command to resume", self.stop.signal)

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.ending.last

    def _logs(self, step: int) -> bool:
        return self._due(step, self.run.config.settings.log_every)

    def _validates(self, step: int) -> bool:
        every = self.run.config.settings.validate_every
        return self.ending.due(step) or (every > 0 and self._due(step, every))

    def _saves(self, step: int) -> bool:
        """fit() saves the last step's, when this is over."""
        settings = self.run.config.settings
        if step >= self.ending.last:
            return False
        waited = time.monotonic() - self.saved >= settings.checkpoint_seconds
        return bool(self.stop.signal) or (waited and step % settings.checkpoint_every == 0)

    def _keeps(self, step: int) -> bool:
        settings = self.run.config.settings
        return step in settings.keep_at_steps or step in settings.evaluate_at_steps

    def _log(self, report: training.StepReport) -> None:
        step = report.step
        metrics = self._training_metrics() if self._logs(step) else {}
        validation = ""
        if self._validates(step):
            loss = metrics["validation/loss"] = _validation_loss(self.run, self.model)
            validation = f"  validation {loss:.4f}"
            if self.ending.due(step):
                self.ending.look(step, loss)
        if metrics:
            files.append_jsonl(self.run.folder.metrics, {"step": step, **metrics})
            self.tracker.log(metrics, step)
        if "train/loss" in metrics:
            speed = f"{metrics['train/tokens_per_second'] / 1000:.1f}k tokens/s"
            text = f"loss {metrics['train/loss']:.4f}  {speed}{validation}"
            self.progress.advance(step, text)

    def _training_metrics(self) -> dict[str, float]:
        since, self.since = self.since, []
        tokens, seconds = (sum(getattr(r, name) for r in since) for name in ("tokens", "seconds"))
        return {
            "train/loss": sum(report.loss for report in since) / len(since),
            "train/lr": since[-1].lr,
            "train/grad_norm": since[-1].grad_norm,
            "train/tokens_per_second": tokens / seconds,
        }


@torch.no_grad()
def _validation_loss(run: Run, model: Transformer) -> float:
    """Mean loss on fixed held-out windows, the same for every scheme and seed."""
    inputs, targets = _validation_batch(run)
    model.eval()
    with run.autocast():
        losses = [
            _mean(run, model.losses(x, y), y)
            for x, y in zip(inputs.split(8), targets.split(8), strict=True)
        ]
    model.train()
    return float(torch.stack(losses).mean())


def _validation_batch(run: Run) -> tuple[Tensor, Tensor]:
    store = run.splits.validation
    if run.splits.whole_documents:
        # A window cut from a longer document would have answers without their questions.
        windows = batches.whole(store, run.config.settings.train_length, VALIDATION_WINDOWS)
        return _scored(run, *windows)
    return _batch(run, store, 0, 0, VALIDATION_WINDOWS)


def _resident(run: Run) -> TokenStore:
    """The training text on a GPU, where the batches are then cut.

    In the host's memory where Python looks for answers in them, or it is too large.
    """
    store = run.splits.train
    if run.device.type != "cuda" or run.splits.answers is not None:
        return store
    room = RESIDENT * torch.cuda.get_device_properties(run.device).total_memory
    stream = store.stream.to(run.device) if store.stream.nbytes <= room else store.stream
    return dataclasses.replace(store, stream=stream)


def _batch(run: Run, store: TokenStore, seed: int, step: int, size: int) -> tuple[Tensor, Tensor]:
    return _scored(run, *run.crops(store, seed, step, size))


def _scored(run: Run, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """A batch on the run's device. Where the data have answers, only these are scored."""
    if run.splits.answers is not None:
        targets = batches.only_answers(targets, run.splits.answers)
    return batches.sent(inputs, run.device), batches.sent(targets, run.device)


def _mean(run: Run, losses: Tensor, targets: Tensor) -> Tensor:
    return losses.mean() if run.splits.answers is None else losses.sum() / batches.n_scored(targets)


@contextlib.contextmanager
def stop_requested() -> Iterator[StopRequest]:
    """SIGINT and SIGTERM are noted for the loop to read; a second one acts at once.

    The previous handlers are restored.
    """
    stop = StopRequest()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.signal:
            raise KeyboardInterrupt
        stop.signal = number
        log.warning("stopping after this step (again: at once)")

    previous = {}
    # Python lets only the main thread set handlers; a training in another cannot be stopped so.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
