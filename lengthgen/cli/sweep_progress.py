"""How a sweep goes, told by its command: k of n, time left, and what it has cost so far."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lengthgen.cli import polling, sweep
from lengthgen.cli.sweep import Status
from lengthgen.terminal.progress import clock

POLL = 1.0  # seconds between two looks at the statuses


def words(statuses: Sequence[Status], n_jobs: int, now: float) -> str:
    """`7/24 jobs done, 1 failed, 2 running; 12m03s left; cost 1h41m of GPU`."""
    running = [status for status in statuses if status.status == sweep.RUNNING]
    done = sum(status.status in sweep.DONE for status in statuses)
    failed = sum(status.failed for status in statuses)
    parts = [f"{done}/{n_jobs} jobs done"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{len(running)} running"] if running else []
    left = seconds_left(statuses, n_jobs, now)
    return "; ".join(
        [
            ", ".join(parts),
            *([f"{clock(left)} left"] if left is not None else []),
            f"cost {cost(statuses, now)}",
        ]
    )


def seconds_left(statuses: Sequence[Status], n_jobs: int, now: float) -> float | None:
    """As long as the jobs that did work took on average, for those left, so many at a time as run.

    None while no job has ended that did any.
    """
    took = [s.seconds for s in statuses if s.status in ("trained", "evaluated")]
    running = [now - s.began for s in statuses if s.status == sweep.RUNNING]
    waiting = n_jobs - len(statuses)
    if not took or not (running or waiting):
        return None if waiting or running else 0.0
    mean = sum(took) / len(took)
    left = sum(max(0.0, mean - so_far) for so_far in running) + mean * waiting
    return left / max(1, len(running))


def cost(statuses: Sequence[Status], now: float) -> str:
    """The time of all jobs together, of processes on CPU and on GPUs."""
    spent = {"CPU": 0.0, "GPU": 0.0}
    for status in statuses:
        seconds = now - status.began if status.status == sweep.RUNNING else status.seconds
        spent["CPU" if status.device == "cpu" else "GPU"] += seconds
    parts = [f"{clock(value)} of {name}" for name, value in spent.items() if value]
    return " and ".join(parts) or "nothing"


@contextlib.contextmanager
def told(folder: Path, n_jobs: int) -> Iterator[None]:
    """A line whenever a job has ended, and once more at the end of the block."""
    last = [0]

    def look() -> bool:
        statuses = sweep.read(folder)
        ended = sum(status.status != sweep.RUNNING for status in statuses)
        if ended > last[0]:
            last[0] = ended
            print(f"sweep: {words(statuses, n_jobs, time.time())}", flush=True)
        return False

    try:
        with polling.looking(look, POLL):
            yield
    finally:
        look()
