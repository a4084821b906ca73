"""How the jobs of a sweep (`-m`) ended: one small status file a job, and the table at the end.

Files, because a launcher may run a job in another process or on another machine.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from lengthgen import files
from lengthgen.config.redaction import redact

SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
DONE = ("trained", "evaluated", "drawn", "nothing to do")


@dataclass(frozen=True)
class Status:
    """How one job ended."""

    job: int  # from 1
    overrides: str  # those that tell the job from the others
    run: str  # id of the run; "" if the job failed before it had one
    # trained | evaluated | drawn | nothing to do | failed | failed: killed (137) | interrupted
    status: str
    message: str = ""  # "" if it went well
    evaluation: str = ""  # the name of its folder; "" if it made or found none


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


def known(folder: Path, job: int) -> bool:
    """Whether that job noted how it ended."""
    return (folder / f"job-{job}.json").exists()


def read(folder: Path) -> list[Status]:
    """The statuses in `folder`, in the order of the jobs."""
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("job-*.json")]
    return sorted((Status(**json.loads(text)) for text in texts), key=lambda status: status.job)


def table(statuses: list[Status], n_jobs: int) -> str:
    """Job, run, status and overrides of each job that ended, and how many did not start."""
    rows = [("job", "run", "status", "overrides")]
    rows += [(f"{s.job}/{n_jobs}", s.run or "-", s.status, s.overrides) for s in statuses]
    widths = [max(len(row[column]) for row in rows) for column in range(3)] + [0]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    if not_run := n_jobs - len(statuses):
        lines.append(f"{not_run} of {n_jobs} jobs were not run")
    return "\n".join(lines)


def exit_code(statuses: list[Status], n_jobs: int) -> int:
    """0 if every job is done, else 1."""
    done = [status for status in statuses if status.status in DONE]
    return 0 if len(done) == len(statuses) == n_jobs else 1
