"""What became of the jobs of a sweep (`-m`): one small status file a job, and the table at the end.

Files, because a job may run in another process or on another machine: nothing here relies on the memory of one process.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lengthgen import files

DONE = ("trained", "evaluated", "nothing to do")


@dataclass(frozen=True)
class Status:
    """How one job ended (`message` is empty if it went well)."""

    job: int  # from 1
    overrides: str  # those that tell the job from its sisters
    run: str  # id of the run; "" if the job failed before it had one
    status: str  # trained | evaluated | nothing to do | failed | interrupted
    message: str = ""


def claim(folder: Path) -> Path:
    """Make `folder`, or where it exists (another sweep of the same second) the first free of folder-2, folder-3, ..."""
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
    """Put `status` into its file in `folder`, whole or not at all."""
    files.write_json(folder / f"job-{status.job}.json", asdict(status))


def read(folder: Path) -> list[Status]:
    """The statuses in `folder`, in the order of the jobs."""
    found = [
        Status(**json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("job-*.json")
    ]
    return sorted(found, key=lambda status: status.job)


def table(statuses: list[Status], n_jobs: int) -> str:
    """Aligned text: job, run, status and overrides of each job that ended, and how many did not start."""
    rows = [("job", "run", "status", "overrides")]
    rows += [(f"{s.job}/{n_jobs}", s.run or "-", s.status, s.overrides) for s in statuses]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    ]
    not_run = n_jobs - len(statuses)
    return "\n".join(lines + ([f"{not_run} of {n_jobs} jobs were not run"] if not_run else []))


def exit_code(statuses: list[Status], n_jobs: int) -> int:
    """0 if every job is done, else 1."""
    return 0 if len(statuses) == n_jobs and all(status.status in DONE for status in statuses) else 1
