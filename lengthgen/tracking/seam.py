"""Between a run and its dashboard: bounded, off the training thread, and never a reason to fail.

`log` puts a dict on a queue (microseconds); one daemon thread calls the backend. When that is slow,
the queue fills and further `log` calls are dropped and counted; when it raises, tracking is off for
this run after one warning; when it hangs at the end, `finish` gives up. metrics.jsonl has every
value anyhow.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Any, ClassVar, Self

from lengthgen.config.redaction import redact_text

LOGGER = logging.getLogger("lengthgen.tracking")
WAITING_CALLS = 1000  # `log` calls that may wait for a slow backend; more are dropped


@dataclass(frozen=True)
class RunDescription:
    """What a tracker knows of a run. `start` removes secrets from it."""

    id: str  # the run's identity: a resumed run re-attaches to it
    name: str
    group: str
    job_type: str  # "train" | "evaluate"
    tags: tuple[str, ...]
    config: dict  # resolved and plain
    folder: Path  # the run folder; a backend writes below it alone


@dataclass(frozen=True)
class Artifact:
    """Files of a run that belong together, for a dashboard that keeps files."""

    name: str
    kind: str  # "evaluation" | "weights"
    files: Mapping[str, Path]  # by their names in the artefact
    about: Mapping[str, Any]
    made_from: tuple[str, ...] = ()  # names of artefacts, of each the newest version


@dataclass
class NoConfig:
    name: str = "none"


class Backend:
    """A dashboard. This one is none (`tracking=none`); the others override every method.

    All but `missing` and `abandon` are called from the tracker's thread; they may block and raise.
    """

    label: ClassVar[str] = "tracking"
    Config: ClassVar[type] = NoConfig
    active: bool = False  # False: the tracker starts no thread and calls nothing
    opening_limit: float = 10.0  # seconds from the run's start that `open` may take
    closing_limit: float = 10.0  # seconds that `finish` then waits for the remaining calls

    def __init__(self, config: Any, description: RunDescription):
        self.config = config
        self.description = description

    def missing(self) -> str | None:
        """Why this backend cannot work, in one line, or None."""
        return None

    def open(self) -> None: ...

    def log(self, metrics: Mapping[str, float], step: int) -> None: ...

    def summary(self, facts: Mapping[str, Any]) -> None: ...

    def resumed(self, rows: Sequence[Mapping]) -> None: ...

    def curves(self, rows: Sequence[Mapping]) -> None: ...

    def figures(self, files: Mapping[str, Path]) -> None: ...

    def artifact(self, artifact: Artifact) -> None: ...

    def close(self, exit_code: int) -> None: ...

    def abandon(self, grace: float) -> None:
        """Within `grace` seconds, end whatever could block or outlive the run.

        From any thread; with 0 another call may be hanging.
        """


class Tracker:
    """Methods return at once (`finish`: within the backend's limits), whatever it raises."""

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
            name = "lengthgen-tracking"
            self._thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._thread.start()

    @property
    def listens(self) -> bool:
        """Whether anything that is told goes anywhere."""
        return not self._off

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Metrics of training step `step`, for example {"train/loss": 2.1}."""
        if self._off:
            return
        self._logged += 1
        if self._calls.qsize() >= WAITING_CALLS:
            self._dropped += 1
        else:
            self._calls.put((self._backend.log, (dict(metrics), step)))

    def summary(self, facts: Mapping[str, Any]) -> None:
        """Facts of the run as a whole, as {"data/fingerprint": "..."}: numbers, texts or lists."""
        self._put(self._backend.summary, dict(facts))

    def resumed(self, rows: Sequence[Mapping]) -> None:
        """Lines of metrics.jsonl from before this process: a dashboard may lack some of them."""
        self._put(self._backend.resumed, [dict(row) for row in rows])

    def curves(self, rows: Sequence[Mapping]) -> None:
        """The rows of lengths.csv, once, when the evaluation is done."""
        self._put(self._backend.curves, [dict(row) for row in rows])

    def figures(self, files: Mapping[str, Path]) -> None:
        """Images, PNG files, by their names."""
        self._put(self._backend.figures, dict(files))

    def artifact(self, artifact: Artifact) -> None:
        """Files to keep; their content is read before `finish` returns, or not at all."""
        self._put(self._backend.artifact, artifact)

    def _put(self, call: Callable, argument: Any) -> None:
        if not self._off:
            self._calls.put((call, (argument,)))

    def finish(self, exit_code: int = 0) -> None:
        """Close, once; an `exit_code` other than 0 marks the run as failed."""
        if self._finished or self._thread is None:
            return
        self._finished = True
        backend = self._backend
        self._calls.put((backend.close, (exit_code,)))
        # two limits: opening an online run may take long, and only then does closing begin
        self._opened.wait(max(0.0, self._started + backend.opening_limit - monotonic()))
        self._thread.join(backend.closing_limit)
        if self._thread.is_alive():
            self._turn_off(f"no answer in {backend.closing_limit:g} s at the end of the run")
            backend.abandon(grace=0.0)
        if self._dropped:
            counts = (self._dropped, self._logged)
            LOGGER.warning("%s was slow: %d of %d log calls dropped there", backend.label, *counts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.finish(exit_code=0 if kind is None else 1)

    def _work(self) -> None:
        """The thread: open, then every call in order, until `close` has been handled."""
        call: Callable = self._backend.open
        arguments: tuple = ()
        while True:
            # when off, calls are still taken from the queue, so that `close` ends the thread
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
        """Warn of the first reason; later ones are its consequences."""
        with self._lock:
            already, self._off = self._off, True
        if not already:
            message = "%s is off for this run: %s (the run goes on; metrics.jsonl has every value)"
            LOGGER.warning(message, self._backend.label, one_line(reason))


def one_line(text: str) -> str:
    """The first line of a message, without secrets, at most 200 characters."""
    lines = str(text).strip().splitlines() or [""]
    return redact_text(lines[0])[:200]
