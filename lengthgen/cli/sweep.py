"""How the jobs of a sweep (`-m`) go: one small status file a job, and the tables at the end.

Files, because a launcher may run a job in another process or on another machine.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from lengthgen import files
from lengthgen.config.redaction import redact

SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
RUNNING = "running"
PUBLISHED = "published"
DONE = ("trained", "evaluated", "drawn", "nothing to do", PUBLISHED)


@dataclass(frozen=True)
class Status:
    """How one job ended, or that it runs."""

    job: int  # from 1
    overrides: str  # those that tell the job from the others
    run: str  # id of the run; "" if the job failed before it had one
    # trained | evaluated | drawn | nothing to do | published | running | failed |
    # failed: killed (137) | interrupted
    status: str
    message: str = ""  # "" if it went well
    evaluation: str = ""  # the name of its folder; "" if it made or found none
    began: float = 0.0  # time.time()
    seconds: float = 0.0  # that it took; 0 while it runs
    device: str = "cpu"  # or cuda
    code: int = 0  # with which a process ends that was interrupted like this
    loss: float | None = None  # nats per token at the training length, matched

    @property
    def failed(self) -> bool:
        return self.status.startswith("failed")


def claim(folder: Path) -> Path:
    """Make `folder`, or the first free of folder-2, folder-3, ...: sweeps of the same second."""
    free, number = folder, 1
    with files.disk_errors(folder):
        while True:
            try:
                free.mkdir(parents=True)
                return free
            except FileExistsError:
                number += 1
                free = folder.with_name(f"{folder.name}-{number}")


def write(folder: Path, status: Status) -> None:
    """Without secrets, which overrides and messages may hold."""
    files.write_json(folder / f"job-{status.job}.json", redact(asdict(status)))


@contextlib.contextmanager
def noted_without_secrets() -> Iterator[None]:
    """Within it, the multirun.yaml of Hydra's sweeper holds none."""
    # Hydra loads its plugins anew: the class of an import is another one.
    sweeper: Any = Plugins.instance().class_name_to_class[SWEEPER]
    original = sweeper.setup

    def setup(self: Any, **given: Any) -> None:
        original(self, **given)  # the launcher has the true configuration
        folder = given["config"].hydra.sweep.dir
        plain = OmegaConf.to_container(given["config"], resolve=False)
        self.config = OmegaConf.create(redact(plain))
        self.config.hydra.sweep.dir = folder

    sweeper.setup = setup
    try:
        yield
    finally:
        sweeper.setup = original


def keep_alive(folder: Path, job: int) -> None:
    """A running job says that it runs, by the time of its file."""
    with contextlib.suppress(OSError):
        os.utime(folder / f"job-{job}.json")


def silent(folder: Path, job: int) -> float:
    """Seconds since a running job said so."""
    return time.time() - (folder / f"job-{job}.json").stat().st_mtime


def status_of(folder: Path, job: int) -> Status | None:
    """How that job goes; None if it has not begun."""
    about = files.read_json(folder / f"job-{job}.json")
    return None if about is None else Status(**about)


def read(folder: Path) -> list[Status]:
    """The statuses in `folder`, in the order of the jobs."""
    found = [files.read_json(path) for path in folder.glob("job-*.json")]
    statuses = [Status(**about) for about in found if about]
    return sorted(statuses, key=lambda status: status.job)


def table(statuses: list[Status], n_jobs: int) -> str:
    """Job, run, status and overrides of each job that ended, and how many did not start."""
    rows = [("job", "run", "status", "overrides")]
    rows += [(f"{s.job}/{n_jobs}", s.run or "-", s.status, s.overrides) for s in statuses]
    lines = _lines(rows)
    if not_run := n_jobs - len(statuses):
        lines.append(f"{not_run} of {n_jobs} jobs were not run")
    return "\n".join(lines)


def failures(statuses: list[Status], n_jobs: int) -> str:
    """Job, run and reason of each that failed; empty if none did."""
    rows = [
        (f"{s.job}/{n_jobs}", s.run or f"- ({s.overrides})", s.message or s.status)
        for s in statuses
        if s.failed
    ]
    return "\n".join(_lines([("failed", "run", "reason"), *rows])) if rows else ""


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """In columns; the last one as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)] + [0]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def choice(statuses: Sequence[Status]) -> str:
    """The jobs by their loss at the training length, the lowest first, which is the choice."""
    measured = [(s.loss, s.job, s) for s in statuses if s.status in DONE and s.loss is not None]
    if not measured:
        return "no choice: no job has a loss at the training length"
    ranked = [(loss, status) for loss, _, status in sorted(measured, key=lambda each: each[:2])]
    rows = [("loss at L", "run", "overrides")]
    rows += [(f"{loss:.4f}", status.run, status.overrides) for loss, status in ranked]
    best = ranked[0][1]
    words = f"the lowest loss at the training length L has {best.overrides} (run {best.run})"
    return "\n".join([*_lines(rows), "", words])


def exit_code(statuses: list[Status], n_jobs: int) -> int:
    """0 if every job is done; that of what interrupted one, if none failed; else 1."""
    done = [status for status in statuses if status.status in DONE]
    if len(done) == len(statuses) == n_jobs:
        return 0
    codes = [status.code for status in statuses if status.code]
    return codes[0] if codes and not any(status.failed for status in statuses) else 1
