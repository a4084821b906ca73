"""How the command of a sweep tells jobs in other processes to stop: a file in the sweep's folder.

A file reaches every engine and every machine that sees the folder. A job looks for it while it
runs, and ends as if it had been sent SIGTERM: in training after the step, which is saved.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from lengthgen import files
from lengthgen.cli import polling
from lengthgen.runs import stopping

NAME = "stop"
POLL = 0.5  # seconds between two looks


def is_there(folder: Path) -> bool:
    return (folder / NAME).exists()


def write(folder: Path) -> None:
    files.write_text(folder / NAME, "the jobs of this sweep stop\n")


@contextlib.contextmanager
def written_on_request(folder: Path) -> Iterator[None]:
    """In the command: a first signal, or the end of the budget, is only noted, and tells the jobs.

    Interrupted at the end of the block. A second signal acts at once.
    """
    with stopping.deferred() as stop:

        def look() -> bool:
            if stop.signal:
                write(folder)
            return bool(stop.signal)

        with polling.looking(look, POLL):
            yield


@contextlib.contextmanager
def obeyed(folder: Path, gone: Callable[[], bool], alive: Callable[[], None]) -> Iterator[None]:
    """In a job: the file stops the block, and so does `gone`, that nobody waits for the job.

    alive: called at every look. A job that stops already is not told again, which would end it at
    once.
    """
    with stopping.watched() as stop:

        def look() -> bool:
            alive()
            told = is_there(folder) or gone()
            if told and not stop.signal:
                os.kill(os.getpid(), signal.SIGTERM)
            return told

        with polling.looking(look, POLL):
            yield
