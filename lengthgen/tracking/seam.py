"""The seam between a run and whatever watches it: bounded, off the training thread, and never a reason to fail.

`log` puts a small dict on a queue and returns (microseconds). One daemon thread hands the calls to a backend. When the
backend is slow the queue fills and further `log` calls are dropped and counted; when it raises, tracking is off for this
run after one warning; when it hangs at the end, `finish` gives up. metrics.jsonl, which run.py writes, has every value anyhow.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Any, ClassVar, Self

from lengthgen.tracking.redaction import redact_text

LOGGER = logging.getLogger("lengthgen.tracking")
WAITING_CALLS = 1000  # `log` calls that may wait for a slow backend; more are dropped


@dataclass(frozen=True)
class RunDescription:
    """What a tracker is told of a run. `start` removes secrets from every text in it."""

    id: str  # the run's identity: a run that goes on re-attaches to it
    name: str
    group: str
    job_type: str  # "train" | "evaluate"
    tags: tuple[str, ...]
    config: dict  # resolved and plain
    folder: Path  # the run folder; a backend writes below it and nowhere else


@dataclass(frozen=True)
class NoConfig:
    name: str = "none"


class Backend:
    """What watches a run. This one watches nothing (`tracking=none`); the others override every method.

    All methods but `missing` and `abandon` are called from the tracker's thread. They may block and raise.
    """

    label: ClassVar[str] = "tracking"
    Config: ClassVar[type] = NoConfig
    active: bool = False  # False: the tracker starts no thread and calls nothing
    opening_limit: float = (
        10.0  # seconds from the start of the run that `finish` allows `open` to take
    )
    closing_limit: float = 10.0  # seconds that `finish` then waits for the calls that are left

    def __init__(self, config: Any, description: RunDescription):
        self.config = config
        self.description = description

    def missing(self) -> str | None:
        """Why this backend cannot work here at all (its library is not installed), in one line; None if it can."""
        return None

    def open(self) -> None: ...

    def log(self, metrics: Mapping[str, float], step: int) -> None: ...

    def curves(self, rows: Sequence[Mapping]) -> None: ...

    def close(self, exit_code: int) -> None: ...

    def abandon(self, grace: float) -> None:
        """Let go of whatever could block or outlive the run, within `grace` seconds. Called from any thread; 0: a call may be hanging."""


class Tracker:
    """One run's tracker. Its methods return at once (`finish`: within the backend's limits) and raise nothing of the backend's."""

    def __init__(self, backend: Backend):
        self._backend = backend
        self._calls: SimpleQueue[tuple[Callable, tuple]] = SimpleQueue()
        self._off = not backend.active
        self._finished = False
        self._logged = self._dropped = 0
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self._started = monotonic()
        if reason := backend.missing():
            self._turn_off(reason)
        self._thread = None
        if not self._off:
            self._thread = threading.Thread(
                target=self._work, name="lengthgen-tracking", daemon=True
            )
            self._thread.start()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Metrics of training step `step`, for example {"train/loss": 2.1}. Dropped when the backend cannot keep up."""
        if self._off:
            return
        self._logged += 1
        if self._calls.qsize() >= WAITING_CALLS:
            self._dropped += 1
        else:
            self._calls.put((self._backend.log, (dict(metrics), step)))

    def curves(self, rows: Sequence[Mapping]) -> None:
        """The tidy rows of lengths.csv, once, when the evaluation is done."""
        if not self._off:
            self._calls.put((self._backend.curves, ([dict(row) for row in rows],)))

    def finish(self, exit_code: int = 0) -> None:
        """Close the tracker; `exit_code` other than 0 marks the run as failed or interrupted. The second call does nothing."""
        if self._finished or self._thread is None:
            return
        self._finished = True
        self._calls.put((self._backend.close, (exit_code,)))
        self._opened.wait(max(0.0, self._started + self._backend.opening_limit - monotonic()))
        self._thread.join(self._backend.closing_limit)
        if self._thread.is_alive():
            self._turn_off(
                f"no answer in {self._backend.closing_limit:g} s at the end of the run, not waiting any longer"
            )
            self._backend.abandon(grace=0.0)
        if self._dropped:
            LOGGER.warning(
                "%s was slow: %d of %d log calls dropped there",
                self._backend.label,
                self._dropped,
                self._logged,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.finish(exit_code=0 if kind is None else 1)

    def _work(self) -> None:
        """The thread: open, then every call in order, until `close` has been handled."""
        call, arguments = self._backend.open, ()
        while True:
            if not self._off:
                try:
                    call(*arguments)
                except BaseException as error:  # W&B calls sys.exit in places
                    self._turn_off(f"{type(error).__name__}: {error}")
                    self._backend.abandon(grace=3.0)
            self._opened.set()  # or failed to
            if call == self._backend.close:
                return
            call, arguments = self._calls.get()

    def _turn_off(self, reason: str) -> None:
        """The first reason gets one warning line; later ones are its consequences."""
        with self._lock:
            already, self._off = self._off, True
        if not already:
            label = self._backend.label
            LOGGER.warning(
                "%s is off for this run: %s (the run goes on; metrics.jsonl has every value)",
                label,
                one_line(reason),
            )


def one_line(text: str) -> str:
    """The first line of a message, without secrets, at most 200 characters."""
    lines = str(text).strip().splitlines() or [""]
    return redact_text(lines[0])[:200]
