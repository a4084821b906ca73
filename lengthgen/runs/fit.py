"""The training of one run: where it left off, what is reported and saved after each step, and how it stops on request."""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator

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
VALIDATION_WINDOWS = (
    32  # held-out windows of the training length for the loss shown during training
)


def fit(run: Run, model: Transformer, tracker: Tracker) -> bool:
    """Bring the model to its last step. False if it was there already."""
    scalars, folder = run.config.scalars, run.folder
    saved = checkpoint.load_newest(folder.checkpoints, run.device)
    if saved is not None and saved["step"] == scalars.steps:
        model.load_state_dict(saved["model"])
        model.scheme.begin_step(scalars.steps, scalars.steps)
        return False
    if saved is None and folder.done.exists():
        raise CheckpointError(
            f"run {run.id} is finished but its weights are gone or damaged; delete {folder.path} and train again"
        )
    optimizer = optim.make_optimizer(model, run.config.optim)
    state = training.TrainState(
        model, optimizer, optim.make_scheduler(optimizer, run.config.optim, scalars.steps)
    )
    if saved is not None:
        state.load_state_dict(saved)
        log.info("going on from step %d of %d", state.step, scalars.steps)
    folder.forget_metrics_after(state.step)
    progress = Progress("step", scalars.steps, state.step)
    with stop_requested() as stop:
        training.train(
            state,
            lambda step: _batch(run, run.splits.train, scalars.seed, step, scalars.batch_size),
            steps=scalars.steps,
            seed=scalars.seed,
            accumulate=scalars.accumulate,
            clip=run.config.optim.clip,
            losses=torch.compile(model.losses) if scalars.compile else None,
            n_scored=_n_scored(run),
            autocast=run.autocast,
            before_step=lambda step: model.scheme.begin_step(step, scalars.steps),
            after_step=_reporter(run, state, tracker, progress, stop),
        )
    progress.close()
    model.scheme.begin_step(scalars.steps, scalars.steps)
    log.info(
        "trained in %s (this session); weights sha256 %s",
        clock(progress.seconds),
        checkpoint.weights_sha256(model),
    )
    return True


def _reporter(
    run: Run, state: training.TrainState, tracker: Tracker, progress: Progress, stop: dict
) -> Callable[[training.StepReport], None]:
    """What happens after each step: metrics, validation, checkpoint, stop on request."""
    scalars, folder = run.config.scalars, run.folder
    since = {"loss": 0.0, "tokens": 0, "seconds": 0.0, "steps": 0}

    def after_step(report: training.StepReport) -> None:
        last = report.step == scalars.steps
        since["loss"] += report.loss
        since["tokens"] += report.tokens
        since["seconds"] += report.seconds
        since["steps"] += 1
        metrics = {}
        if report.step % scalars.log_every == 0 or last:
            metrics = {
                "train/loss": since["loss"] / since["steps"],
                "train/lr": report.lr,
                "train/grad_norm": report.grad_norm,
                "train/tokens_per_second": since["tokens"] / since["seconds"],
            }
            since.update(loss=0.0, tokens=0, seconds=0.0, steps=0)
        if scalars.validate_every and (report.step % scalars.validate_every == 0 or last):
            metrics["validation/loss"] = _validation_loss(run, state.model)
        if metrics:
            files.append_jsonl(folder.metrics, {"step": report.step, **metrics})
            tracker.log(metrics, report.step)
        if "train/loss" in metrics:
            shown = f"loss {metrics['train/loss']:.4f}  {metrics['train/tokens_per_second'] / 1000:.1f}k tokens/s"
            shown += (
                f"  validation {metrics['validation/loss']:.4f}"
                if "validation/loss" in metrics
                else ""
            )
            progress.advance(report.step, shown)
        if report.step % scalars.checkpoint_every == 0 or last or stop["signal"]:
            kept = (
                {"model": state.model.state_dict(), "step": state.step}
                if last
                else state.state_dict()
            )
            checkpoint.save(folder.checkpoints, report.step, kept, scalars.keep_checkpoints)
        if stop["signal"] and not last:
            raise Interrupted(
                f"stopped at step {report.step} of {scalars.steps}; the same command goes on from there",
                stop["signal"],
            )

    return after_step


@torch.no_grad()
def _validation_loss(run: Run, model: Transformer) -> float:
    """Mean loss on fixed held-out windows of the training length, the same for every scheme and seed."""
    if run.splits.whole_documents:  # a window cut from a longer one would have answers without their questions, shares of another length
        inputs, targets = _scored(
            run,
            *batches.whole(
                run.splits.validation, run.config.scalars.train_length, VALIDATION_WINDOWS
            ),
        )
    else:
        inputs, targets = _batch(run, run.splits.validation, 0, 0, VALIDATION_WINDOWS)
    model.eval()
    with run.autocast():
        losses = [
            _mean(run, model.losses(x, y), y)
            for x, y in zip(inputs.split(8), targets.split(8), strict=True)
        ]
    model.train()
    return float(torch.stack(losses).mean())


def _batch(run: Run, store: TokenStore, seed: int, step: int, size: int) -> tuple[Tensor, Tensor]:
    scalars = run.config.scalars
    inputs, targets = batches.crops(
        store,
        seed=seed,
        step=step,
        batch_size=size,
        length=scalars.train_length,
        cross_documents=scalars.cross_documents,
    )
    return _scored(run, inputs, targets)


def _scored(run: Run, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """A batch on the run's device. Where the data have answers, these are all that is scored."""
    if run.splits.answers is not None:
        targets = batches.only_answers(targets, run.splits.answers)
    return inputs.to(run.device), targets.to(run.device)


def _n_scored(run: Run) -> Callable[[Tensor], int]:
    return Tensor.numel if run.splits.answers is None else batches.n_scored


def _mean(run: Run, losses: Tensor, targets: Tensor) -> Tensor:
    return losses.mean() if run.splits.answers is None else losses.sum() / batches.n_scored(targets)


@contextlib.contextmanager
def stop_requested() -> Iterator[dict]:
    """SIGINT and SIGTERM set a flag that the loop reads at the next step; a second one acts at once. Handlers are restored."""
    stop = {"signal": 0}

    def request(number, frame) -> None:
        if stop["signal"]:
            raise KeyboardInterrupt
        stop["signal"] = number
        log.warning("stopping after this step (again: at once)")

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = (
        {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
        if in_main_thread
        else {}
    )
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
