"""The training of one run: resuming, what is reported and saved after a step, stop on request."""

import contextlib
import logging
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

import torch
from torch import Tensor

from lengthgen import files
from lengthgen.data import batches
from lengthgen.data.tokens import TokenStore
from lengthgen.errors import CheckpointError, Interrupted
from lengthgen.model import Transformer
from lengthgen.runs.prepare import Run
from lengthgen.runs.progress import Progress, clock
from lengthgen.tracking import Tracker
from lengthgen.training import checkpoint, optim
from lengthgen.training import loop as training

log = logging.getLogger(__name__)
# Held-out windows of the training length, for the loss shown during training.
VALIDATION_WINDOWS = 32


def fit(run: Run, model: Transformer, tracker: Tracker) -> bool:
    """Bring the model to its last step. False if it was there already."""
    settings, folder = run.config.settings, run.folder
    saved = checkpoint.load_newest(folder.checkpoints, run.device)
    if saved is not None and saved["step"] == settings.steps:
        model.load_state_dict(saved["model"])
        model.scheme.begin_step(settings.steps, settings.steps)
        return False
    if saved is None and folder.done.exists():
        raise CheckpointError(
            f"run {run.id} is finished but its weights are gone or damaged; "
            f"delete {folder.path} and train again"
        )
    optimizer = optim.make_optimizer(model, run.config.optim)
    scheduler = optim.make_scheduler(optimizer, run.config.optim, settings.steps)
    state = training.TrainState(model, optimizer, scheduler)
    if saved is not None:
        state.load_state_dict(saved)
        log.info("resuming at step %d of %d", state.step, settings.steps)
    folder.forget_metrics_after(state.step)
    progress = Progress("step", settings.steps, state.step)
    with stop_requested() as stop:
        training.train(
            state,
            lambda step: _batch(run, run.splits.train, settings.seed, step, settings.batch_size),
            steps=settings.steps,
            seed=settings.seed,
            accumulate=settings.accumulate,
            clip=run.config.optim.clip,
            losses=torch.compile(model.losses) if settings.compile else None,
            n_scored=Tensor.numel if run.splits.answers is None else batches.n_scored,
            autocast=run.autocast,
            before_step=lambda step: model.scheme.begin_step(step, settings.steps),
            after_step=_AfterStep(run, model, state, tracker, progress, stop),
        )
    progress.close()
    model.scheme.begin_step(settings.steps, settings.steps)
    weights = checkpoint.weights_sha256(model)
    log.info("trained in %s (this session); weights sha256 %s", clock(progress.seconds), weights)
    return True


@dataclass
class StopRequest:
    signal: int = 0  # the number of the signal that asked for it; 0: none did


@dataclass
class _AfterStep:
    """What happens after each step: metrics, validation, checkpoint, stop on request."""

    run: Run
    model: Transformer
    state: training.TrainState
    tracker: Tracker
    progress: Progress
    stop: StopRequest
    # loss, tokens, seconds and steps since the last line of metrics
    since: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __call__(self, report: training.StepReport) -> None:
        for name in ("loss", "tokens", "seconds"):
            self.since[name] += getattr(report, name)
        self.since["steps"] += 1
        self._log(report)
        step, settings = report.step, self.run.config.settings
        if self._due(step, settings.checkpoint_every) or self.stop.signal:
            self._save(step)
        if self.stop.signal and step < settings.steps:
            where = f"stopped at step {step} of {settings.steps}"
            raise Interrupted(f"{where}; rerun the same command to resume", self.stop.signal)

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.run.config.settings.steps

    def _log(self, report: training.StepReport) -> None:
        settings, step = self.run.config.settings, report.step
        metrics = self._training_metrics(report) if self._due(step, settings.log_every) else {}
        validation = ""
        if settings.validate_every and self._due(step, settings.validate_every):
            metrics["validation/loss"] = _validation_loss(self.run, self.model)
            validation = f"  validation {metrics['validation/loss']:.4f}"
        if metrics:
            files.append_jsonl(self.run.folder.metrics, {"step": step, **metrics})
            self.tracker.log(metrics, step)
        if "train/loss" in metrics:
            speed = f"{metrics['train/tokens_per_second'] / 1000:.1f}k tokens/s"
            text = f"loss {metrics['train/loss']:.4f}  {speed}{validation}"
            self.progress.advance(step, text)

    def _training_metrics(self, report: training.StepReport) -> dict[str, float]:
        since = dict(self.since)
        self.since.clear()
        return {
            "train/loss": since["loss"] / since["steps"],
            "train/lr": report.lr,
            "train/grad_norm": report.grad_norm,
            "train/tokens_per_second": since["tokens"] / since["seconds"],
        }

    def _save(self, step: int) -> None:
        content = self.state.state_dict()
        # Nobody resumes a finished training: its last checkpoint leaves the optimiser out.
        if step == self.run.config.settings.steps:
            content = {"model": content["model"], "step": content["step"]}
        kept = self.run.config.settings.keep_checkpoints
        checkpoint.save(self.run.folder.checkpoints, step, content, kept)


@torch.no_grad()
def _validation_loss(run: Run, model: Transformer) -> float:
    """Mean loss on fixed held-out windows, the same for every scheme and seed."""
    store = run.splits.validation
    if run.splits.whole_documents:
        # A window cut from a longer document would have answers without their questions.
        windows = batches.whole(store, run.config.settings.train_length, VALIDATION_WINDOWS)
        inputs, targets = _scored(run, *windows)
    else:
        inputs, targets = _batch(run, store, 0, 0, VALIDATION_WINDOWS)
    model.eval()
    with run.autocast():
        losses = [
            _mean(run, model.losses(x, y), y)
            for x, y in zip(inputs.split(8), targets.split(8), strict=True)
        ]
    model.train()
    return float(torch.stack(losses).mean())


def _batch(run: Run, store: TokenStore, seed: int, step: int, size: int) -> tuple[Tensor, Tensor]:
    return _scored(run, *run.crops(store, seed, step, size))


def _scored(run: Run, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """A batch on the run's device. Where the data have answers, only these are scored."""
    if run.splits.answers is not None:
        targets = batches.only_answers(targets, run.splits.answers)
    return inputs.to(run.device), targets.to(run.device)


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
