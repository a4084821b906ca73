"""Signals that ask a run to stop: noted where there is something to save, else acted on at once.

SIGTERM, SIGINT, SIGHUP and the two that batch systems send before a time limit are treated alike:
the run ends with exit code 128 + the signal's number, and the same command resumes it. In training
the step is finished and saved first. Elsewhere nothing is lost: all files appear whole or not at
all. A second signal always acts at once. A budget of time ends a run likewise, by a timer of its
own (`until`). Imports no torch: it also covers the time before that.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from lengthgen.errors import BudgetSpent, Interrupted

TIMER = signal.SIGALRM  # of `until`
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
NO_BAR = b"\r\033[K"  # takes away a bar, and the ^C of the terminal
NOTED = b"lengthgen: stopping after this step (again: at once)\n"


class StopNow(KeyboardInterrupt):
    """Not an Exception: no handler on the way takes it for a fault. `watched` makes it one line."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@dataclass
class StopRequest:
    signal: int = 0  # the number of the signal that asked for it; 0: none did
    deferred: bool = False  # whether the first is only noted
    quiet: bool = False  # without a line that says so, as several ranks would each print it

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == TIMER:
            return  # it is stopping already
        again, self.signal = bool(self.signal), number
        if again or not self.deferred:
            raise StopNow(number)
        if self.quiet:
            return
        with contextlib.suppress(OSError):
            # Not by print or logging, which may be what was interrupted.
            os.write(2, (NO_BAR if os.isatty(2) else b"") + NOTED)

    def interrupted(self, where: str = "") -> Interrupted:
        """The error of what was stopped. where: at which step; else by what."""
        if self.signal == TIMER:
            return BudgetSpent(
                f"{where or 'stopped'}: the budget is spent; rerun the same command to go on"
            )
        where = where or f"stopped by {signal.Signals(self.signal).name}"
        return Interrupted(f"{where}; rerun the same command to resume", self.signal)


_watching: list[StopRequest] = []  # the process's one, while it is watched


@contextlib.contextmanager
def watched() -> Iterator[StopRequest]:
    """Signals end the block by Interrupted. Inside another such block: by that one's handlers.

    The previous handlers are restored. A signal that was ignored before (nohup) stays so, and
    outside the main thread, where Python sets no handlers, nothing changes.
    """
    ours = not _watching and threading.current_thread() is threading.main_thread()
    stop = _watching[-1] if _watching else StopRequest()
    previous = {}
    if ours:
        _watching.append(stop)
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, stop.handle)
    try:
        yield stop
    except StopNow:
        raise stop.interrupted() from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if ours:
            _watching.clear()


@contextlib.contextmanager
def deferred(quiet: bool = False) -> Iterator[StopRequest]:
    """A first signal is only noted in the block, which looks at it. Interrupted at its end."""
    with watched() as stop:
        before, stop.deferred = (stop.deferred, stop.quiet), True
        stop.quiet = quiet
        try:
            yield stop
        finally:
            stop.deferred, stop.quiet = before
        if stop.signal:
            raise stop.interrupted()


@contextlib.contextmanager
def until(deadline: float | None) -> Iterator[None]:
    """At `deadline` (time.time()) the block is stopped as by a signal: BudgetSpent. None: never.

    Outside the main thread nothing changes.
    """
    with watched() as stop:
        if deadline is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(TIMER, stop.handle)
        # A timer of 0 seconds would be none.
        signal.setitimer(signal.ITIMER_REAL, max(deadline - time.time(), 1e-3))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(TIMER, before)
