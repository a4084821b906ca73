"""A call in a process of its own: what kills that process, memory above all, kills no other."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from lengthgen.runs import stopping

POLL = 0.2  # seconds between two looks at a signal that came


def call(work: Callable[..., int], *arguments: Any) -> int:
    """The exit code of a new process that calls `work`; -n where signal n killed it.

    A signal that asks this process to stop is passed on, and waited for. Interrupted then.
    """
    # Not a fork: torch's threads do not survive one.
    process = multiprocessing.get_context("spawn").Process(target=_begin, args=(work, *arguments))
    with stopping.deferred() as stop:
        process.start()
        passed_on = 0
        try:
            while process.is_alive():
                process.join(POLL)
                if stop.signal and not passed_on:
                    passed_on = stop.signal
                    _send(process, passed_on)
        except stopping.StopNow as now:  # a second signal
            _send(process, passed_on or now.number)
            _send(process, now.number)
            process.join()
            raise
    return process.exitcode or 0


def how_it_ended(code: int) -> str:
    """In words: `killed (137)`, as a shell numbers it, or `ended with exit code 3`."""
    return f"killed ({128 - code})" if code < 0 else f"ended with exit code {code}"


def _begin(work: Callable[..., int], *arguments: Any) -> None:
    # A terminal sends Ctrl-C to its whole group: here it comes once, from the parent.
    os.setpgrp()
    raise SystemExit(work(*arguments))


def _send(process: BaseProcess, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if process.pid and process.is_alive():
            os.kill(process.pid, signal.Signals(number))
