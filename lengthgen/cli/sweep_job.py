"""One job of a sweep, in whatever process an engine gave it, to its end or until it is stopped.

It notes in the sweep's folder that it runs, of which run it is, and how it ended: the command reads
it there (sweep.py).
"""

import contextlib
import dataclasses
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lengthgen.cli import devices, isolated, job, published_runs, stop_file, sweep
from lengthgen.cli.job import JobRequest
from lengthgen.cli.sweep import Status
from lengthgen.config import messages, output
from lengthgen.errors import BudgetSpent, Interrupted, UserError
from lengthgen.terminal import named_lines, progress

if TYPE_CHECKING:
    from lengthgen.runs.prepare import Run
    from lengthgen.runs.run import Outcome

SUBMITIT = "SUBMITIT_EXECUTOR"  # environment of a job of submitit


def run(request: JobRequest, config: DictConfig) -> float | None:
    """The job. Returns its loss at the training length; NaN if it failed, None if it was stopped.

    After a failure the next job goes on; in the command's own process a signal ends them all by
    SystemExit.
    """
    with output.without_secrets():  # here too: an engine may have started a new process
        work = Job(request, config)
        if request.engine.parallel:
            return work.elsewhere()
        if request.isolate:
            work.isolated()
        elif code := work.to_its_end():
            raise SystemExit(code)  # unlike an Exception, it passes through Hydra's launcher
        return work.result()


class Job:
    def __init__(self, request: JobRequest, config: DictConfig):
        self.request, self.config = request, config
        self.folder = Path(HydraConfig.get().runtime.output_dir)
        self.number = HydraConfig.get().job.num + 1
        words = list(HydraConfig.get().overrides.task)
        self.label = " ".join(
            [w for w in words if w.partition("=")[0] in request.varied] or words
        )  # fmt: skip
        self.status = Status(self.number, self.label, "", sweep.RUNNING, began=time.time())

    @property
    def which(self) -> str:
        return f"job {self.number}/{self.request.n_jobs}"

    def result(self) -> float | None:
        """What a sweeper is told."""
        status = sweep.status_of(self.folder, self.number) or self.status
        if status.status in sweep.DONE and status.loss is not None:
            return status.loss
        return math.nan if status.failed else None

    def elsewhere(self) -> float | None:
        """In a process of an engine, beside other jobs."""
        if stop_file.is_there(self.folder) or self._is_too_late() or self._gone():
            return None
        os.environ[progress.OFF] = "1"  # several bars at once would overwrite each other
        if self.request.engine.shares:
            devices.take(self.folder, devices.visible())
        with self._named_lines(), stop_file.obeyed(self.folder, self._gone, self._alive):
            code = self.to_its_end()
        if code > 128 and SUBMITIT in os.environ and not stop_file.is_there(self.folder):
            _give_to_submitit(code - 128)
        return self.result()

    def isolated(self) -> None:
        """In a process of its own."""
        try:
            code = isolated.call(_isolated, self.request, self.config, self)
        except Interrupted as stop:
            raise SystemExit(stop.exit_code) from stop
        noted = sweep.status_of(self.folder, self.number)
        if code and (noted is None or noted.status == sweep.RUNNING):
            ended = isolated.how_it_ended(code)
            self.status = noted or self.status
            self._end(status=f"failed: {ended}", message=ended)

    def to_its_end(self) -> int:
        """Note how it ends. Returns the code that ends the sweep, or 0."""
        apart = "" if self.request.engine.parallel else "\n"
        print(f"{apart}{self.which}: {self.label}", flush=True)
        sweep.write(self.folder, self.status)
        try:
            outcome = job.run(self.request, self.config, self._begun)
            self._end(
                run=outcome.run_id,
                status=outcome.status,
                evaluation=outcome.evaluation.name,
                loss=_loss(outcome),
            )
        except (KeyboardInterrupt, Interrupted, BrokenPipeError) as stop:
            return self._interrupted(stop)
        except UserError as error:
            self._end(status="failed", message=messages.in_one_line(error))
        except Exception as error:
            traceback.print_exc()
            self._end(status="failed", message=f"{type(error).__name__}: {error}")
        return 0

    def _interrupted(self, stop: BaseException) -> int:
        code = 141 if isinstance(stop, BrokenPipeError) else getattr(stop, "exit_code", 130)
        seconds = time.time() - self.status.began
        self.status = dataclasses.replace(
            self.status, status="interrupted", message=str(stop), seconds=seconds, code=code
        )
        sweep.write(self.folder, self.status)
        why = ": the budget is spent" if isinstance(stop, BudgetSpent) else ""
        print(
            f"lengthgen: {self.which} ({self.label}) interrupted{why}; "
            "rerun the same command to resume",
            file=sys.stderr,
        )
        return code

    def _end(self, **changes: object) -> None:
        seconds = time.time() - self.status.began
        self.status = dataclasses.replace(self.status, seconds=seconds, **changes)  # type: ignore[arg-type]
        if self.status.failed:
            words = f"{self.which} ({self.label}) failed: {self.status.message}"
            print(f"lengthgen: {words}", file=sys.stderr, flush=True)
        sweep.write(self.folder, self.status)

    def _begun(self, run: "Run") -> None:
        """The run is known."""
        self.status = dataclasses.replace(self.status, run=run.id, device=run.device.type)
        sweep.write(self.folder, self.status)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, named_lines.NamedLines):
                stream.name = run.id

    def _is_too_late(self) -> bool:
        return self.request.deadline is not None and time.time() >= self.request.deadline

    def _gone(self) -> bool:
        """Whether the command is no more, where its engine's processes end with it."""
        return self.request.engine.children and os.getppid() != self.request.process

    def _alive(self) -> None:
        sweep.keep_alive(self.folder, self.number)

    @contextlib.contextmanager
    def _named_lines(self) -> Iterator[None]:
        """What is printed and logged says whose it is: the label, then the run's id."""
        before = sys.stdout, sys.stderr
        named = [named_lines.NamedLines(stream, self.label) for stream in before]
        sys.stdout, sys.stderr = named
        named_lines.log_to_screen()
        try:
            yield
        finally:
            for stream in named:
                stream.end()
            sys.stdout, sys.stderr = before
            named_lines.log_to_screen()


def _isolated(request: JobRequest, config: DictConfig, work: Job) -> int:
    """In the process of `--isolate`, whose parent may be killed."""
    parent = os.getppid()
    gone = lambda: os.getppid() != parent  # noqa: E731
    with stop_file.obeyed(work.folder, gone, work._alive):
        return work.to_its_end()


def _loss(outcome: "Outcome") -> float | None:
    published = outcome.status == sweep.PUBLISHED
    table = (outcome.folder if published else outcome.evaluation) / "lengths.csv"
    return published_runs.loss_at_train_length(table, outcome.run_id) if table.is_file() else None


def _give_to_submitit(number: int) -> None:
    """What was saved is to be gone on with: submitit's own handler puts the job back in the queue.

    The signal came from the batch system, before a time limit or to make room.
    """
    if number != signal.SIGINT and callable(signal.getsignal(number)):
        signal.raise_signal(number)
