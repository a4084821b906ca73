"""Processes that make the runs of a study, and how they end: each saves its training first.

A worker hears no signal of the terminal or the batch system, which may reach the whole group of
processes: the study tells it to stop, once, or by being gone. A second request ends it at once.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from lengthgen.errors import UserError
from lengthgen.terminal import messages, progress

T = TypeVar("T")
WORKING = threading.Event()  # of a worker: a call is under way
STOPPED = threading.Event()  # of a worker: it is to begin no other
POLL = 0.2  # seconds between two looks at whether to stop


class WorkerKilledError(UserError):
    """A worker was killed."""


def each(calls: Sequence[Callable[[], T]], workers: int) -> Iterator[T]:
    """What the calls return, in the order in which they end. WorkerKilledError.

    Whatever ends the loop over them ends the calls, and is waited for.
    """
    # Spawned, not forked: torch's thread pools do not survive a fork.
    context = get_context("spawn")
    # Without a lock: a worker that is killed could hold it.
    stop: Any = context.RawValue("i", 0)
    shown = messages.gathered(context) if progress.shows_bars() else contextlib.nullcontext()
    with (
        shown as queue,
        ProcessPoolExecutor(
            workers, context, initializer=_start, initargs=(os.getpid(), stop, queue)
        ) as pool,
    ):
        waiting = [pool.submit(_call, call) for call in calls]
        try:
            for future in as_completed(waiting):
                yield future.result()
        except BrokenProcessPool:
            raise WorkerKilledError(
                "a worker was killed (out of memory?); rerun to resume; --workers 1 needs less"
            ) from None
        except BaseException:
            stop.value = 1
            try:
                pool.shutdown(wait=True, cancel_futures=True)
            except BaseException:
                stop.value = 2
                raise
            raise


def _call(call: Callable[[], T]) -> T:
    # A call that the pool has handed over cannot be cancelled any more.
    if STOPPED.is_set():
        raise RuntimeError("stopped before it began")
    WORKING.set()
    try:
        return call()
    finally:
        WORKING.clear()


def _start(parent: int, stop: Any, queue: Any) -> None:
    """Prepare a new process, before it imports torch."""
    from lengthgen.runs.process import prepare_environment

    os.environ[progress.OFF] = "1"  # several bars at once would overwrite each other
    prepare_environment()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if queue is not None:
        messages.send(queue)
    threading.Thread(target=_obey, args=(parent, stop), daemon=True).start()


def _obey(parent: int, stop: Any) -> None:
    """End what this process does as often as it is told to, and the process with its parent."""
    obeyed = 0
    # Polled, because a signal at the death of the parent exists on Linux alone.
    while os.getppid() == parent or WORKING.is_set():
        requests = max(stop.value, int(os.getppid() != parent))
        if requests > obeyed:
            obeyed += 1
            STOPPED.set()
            # SIGTERM lets a training save its checkpoint first (runs/fit.py), and ends anything
            # else.
            if WORKING.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(POLL)
    os._exit(1)
