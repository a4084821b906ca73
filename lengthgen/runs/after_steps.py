"""What happens after steps of a training: what is reported, saved, skipped, and stop on request."""

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lengthgen.errors import NonFiniteError
from lengthgen.evaluation.protocols import Request
from lengthgen.model import Transformer
from lengthgen.runs import length_curve, mfu, spreading
from lengthgen.runs.prepare import Run
from lengthgen.runs.stopping import StopRequest
from lengthgen.runs.windows import validation_loss, windows_of_step
from lengthgen.terminal.progress import Progress
from lengthgen.tracking import Tracker
from lengthgen.training import checkpoint
from lengthgen.training import loop as training
from lengthgen.training import skips as skipping
from lengthgen.training.ending import Ending
from lengthgen.training.parallel import IN_ONE_PROCESS, Parallel
from lengthgen.training.skips import Skips

log = logging.getLogger(__name__)


class TooManyInARow(Exception):
    """More steps in a row than are skipped had a loss or gradient that was not finite."""


@dataclass
class AfterSteps:
    """What happens after steps: metrics, validation, checkpoint, skips, stop on request."""

    run: Run
    model: Transformer
    state: training.TrainState
    ending: Ending
    tracker: Tracker
    progress: Progress
    stop: StopRequest
    writer: checkpoint.Writer
    curve: Sequence[Request] = ()  # windows at and past the training length (evaluate_every)
    skips: Skips = field(default_factory=Skips)
    start: dict[str, Any] | None = None  # the state before the first step, until one is saved
    # since the last line of metrics
    since: list[training.StepReport] = field(default_factory=list)
    saved: float = field(default_factory=time.monotonic)  # when the last checkpoint was
    parallel: Parallel = IN_ONE_PROCESS
    # A step, and what all ranks know after it: `_asked`.
    known: tuple[int, int, bool] = (0, 0, False)

    def reads(self, step: int) -> bool:
        """Whether the host waits for the numbers of this step. On CPU they are there."""
        return self.run.device.type == "cpu" or any(
            (
                self._logs(step),
                self._validates(step),
                self._measures_lengths(step),
                self._saves(step),
                self._keeps(step),
            )
        )

    def begin(self, saved: dict[str, Any] | None) -> None:
        """From a checkpoint; else the state as it is now is kept, to go back to."""
        if saved is None:
            self.start = checkpoint.copied(self._content())
        else:
            self._load(saved)
        self.run.folder.forget_metrics_after(self.state.step)

    def __call__(self, reports: Sequence[training.StepReport]) -> None:
        for report in reports:
            self._take(report)
        self._log(reports[-1])
        step, settings = reports[-1].step, self.run.config.settings
        # Weights that are not finite are not saved: there would be nothing to go back to.
        sound = (self._saves(step) or self._keeps(step)) and not checkpoint.not_finite(self.model)
        if sound and self._saves(step):
            self.save(step)
        if sound and self._keeps(step):
            kept = {"model": self.state.state_dict()["model"], "step": step}
            folder = self.run.folder.kept_weights
            self.writer.save(folder, step, kept, keep=None, run=self.run.id)
        if step < self.ending.last and (number := self._asked(step)[0]):
            self.stop.signal = number
            self.writer.wait()
            self.run.ranks.part()
            raise self.stop.interrupted(f"stopped at step {step} of {settings.steps}")

    def go_back(self) -> None:
        """To the last checkpoint before the row of steps that were not finite. NonFiniteError."""
        self.writer.wait()
        folder, skipped = self.run.folder.checkpoints, self.skips
        saved = spreading.newest(self.run, skipped.row[0]) or self.start
        if saved is None:
            raise NonFiniteError(f"{self._row()}, and there is no checkpoint from before them")
        self._load(saved)
        self.skips = skipped.go_back(self.skips, self.state.step)
        log.warning("%s: going back to step %d, once", self._row(skipped), self.state.step)
        # What happened is on disk before any step is redone.
        self.save(self.state.step)
        self.writer.wait()
        if self.run.ranks.first:
            checkpoint.forget_after(folder, self.state.step)
        self.run.folder.forget_metrics_after(self.state.step)

    def about(self) -> dict[str, Any]:
        """How the training ended. NonFiniteError for weights that are not finite."""
        if parameter := checkpoint.not_finite(self.model):
            raise NonFiniteError(
                f"after step {self.state.step} the weights of {parameter} are not finite, and are "
                f"not saved; {training.EXPECTED}"
            )
        if len(self.skips.skipped) + len(self.skips.left_out) >= self.state.step:
            raise NonFiniteError(f"{self._row()}: no step was finite; {training.EXPECTED}")
        skipped = self.skips.about()
        if skipped:
            self.run.folder.note(skipped)
        return self.ending.about() | skipped

    def _take(self, report: training.StepReport) -> None:
        """Note what was skipped. TooManyInARow, NonFiniteError."""
        if report.left_out:
            self._record(report.step, "left out, after going back")
            return
        enough = self.skips.take(report.step, report.finite)
        if report.finite:
            self.since.append(report)
            return
        self._record(report.step, report.fault, report.bad_parameter)
        if enough:
            log.warning("step %d is skipped: %s", report.step, report.fault)
        elif not self.skips.returned:
            raise TooManyInARow
        else:
            windows = ", ".join(self._windows(report.step)[:8])
            raise NonFiniteError(
                f"{self._row()} again, after going back to step {self.skips.returned[1]}: "
                f"{report.fault}, on the windows {windows} (all: metrics.jsonl); "
                f"{training.EXPECTED}"
            )

    def _row(self, skipped: Skips | None = None) -> str:
        row = (skipped or self.skips).row
        return f"steps {row[0]} to {row[-1]} were not finite"

    def _record(self, step: int, why: str, parameter: str = "") -> None:
        line = {"step": step, "skipped": why, "parameter": parameter}
        self.run.folder.add_metrics(line | {"windows": self._windows(step)})

    def _windows(self, step: int) -> list[str]:
        return windows_of_step(self.run, step)

    def _content(self) -> dict[str, Any]:
        content = self.state.state_dict() | self.skips.state_dict()
        since = [dataclasses.asdict(report) for report in self.since]
        return content | {"ending": self.ending.state_dict(), "since": since}

    def _load(self, saved: dict[str, Any]) -> None:
        self.state.load_state_dict(saved)
        self.ending.load_state_dict(saved.get("ending", {"losses": {}, "settled_at": None}))
        self.skips = skipping.load(saved)
        self.since = [training.StepReport(**report) for report in saved.get("since", [])]

    def save(self, step: int) -> None:
        """A checkpoint of the state after `step` steps, which is the state as it is now."""
        folder = self.run.folder.checkpoints
        # In a row of skipped steps the one to go back to stays, be it the start.
        if self.skips.row and self.start is not None:
            self.writer.save(folder, 0, self.start, None, self.run.id)
        keep = None if self.skips.row else self.run.config.settings.keep_checkpoints
        self.writer.save(folder, step, self._content(), keep, self.run.id)
        self.start = None
        self.saved = time.monotonic()

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.ending.last

    def _logs(self, step: int) -> bool:
        return self._due(step, self.run.config.settings.log_every)

    def _validates(self, step: int) -> bool:
        every = self.run.config.settings.validate_every
        return self.ending.due(step) or (every > 0 and self._due(step, every))

    def _measures_lengths(self, step: int) -> bool:
        return bool(self.curve) and self._due(step, self.run.config.settings.evaluate_every)

    def _saves(self, step: int) -> bool:
        """fit() saves the last step's, when this is over."""
        settings = self.run.config.settings
        if step >= self.ending.last:
            return False
        number, waited = self._asked(step)
        return bool(number) or (waited and step % settings.checkpoint_every == 0)

    def _asked(self, step: int) -> tuple[int, bool]:
        """The signal that asks to stop, 0: none does, and whether a checkpoint is due by time.

        The same on every rank: they exchange it once a step.
        """
        waited = time.monotonic() - self.saved >= self.run.config.settings.checkpoint_seconds
        if self.run.ranks.size == 1:
            return self.stop.signal, waited
        if self.known[0] != step:
            number, due = self.run.ranks.most(self.stop.signal, waited)
            self.known = step, number, bool(due)
        return self.known[1:]

    def _keeps(self, step: int) -> bool:
        settings = self.run.config.settings
        return step in settings.keep_at_steps or step in settings.evaluate_at_steps

    def _log(self, report: training.StepReport) -> None:
        step = report.step
        metrics = self._training_metrics() if self._logs(step) else {}
        validation = ""
        if self._validates(step):
            with self.parallel.gathered():
                loss = validation_loss(self.run, self.model)
            loss = metrics["validation/loss"] = self.run.ranks.from_first(loss)
            validation = f"  validation {loss:.4f}"
            if self.ending.due(step):
                self.ending.look(step, loss)
        if self._measures_lengths(step):
            with self.parallel.gathered():
                metrics |= length_curve.losses(self.run, self.model, self.curve)
        if metrics:
            self.run.folder.add_metrics({"step": step, **metrics})
            self.tracker.log(metrics, step)
        if "train/loss" in metrics:
            speed = f"{metrics['train/tokens_per_second'] / 1000:.1f}k tokens/s"
            if "train/mfu" in metrics:
                speed += f"  {100 * metrics['train/mfu']:.1f} % of peak FLOPs"
            text = f"loss {metrics['train/loss']:.4f}  {speed}{validation}"
            self.progress.advance(step, text)
        else:
            self.progress.move(step)

    def _training_metrics(self) -> dict[str, float]:
        """Means since the last call; {} where all steps since then were skipped."""
        since, self.since = self.since, []
        if not since:
            return {}
        tokens, seconds = (sum(getattr(r, name) for r in since) for name in ("tokens", "seconds"))
        metrics = {
            "train/loss": sum(report.loss for report in since) / len(since),
            "train/lr": since[-1].lr,
            "train/grad_norm": since[-1].grad_norm,
            "train/tokens_per_second": tokens / seconds,
        }
        share = mfu.of_training(self.run, tokens / seconds / self.run.ranks.size)
        return metrics if share is None else metrics | {"train/mfu": share}
