"""Progress: one bar that is redrawn on a terminal or in a notebook, plain lines in a log.

A bar is redrawn every second, so that a person sees time pass in work that has no smaller pieces.
What is printed or logged meanwhile stands on lines of its own above it (above.py).
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Self, TypeVar

from tqdm import tqdm

from lengthgen.terminal import above

log = logging.getLogger(__name__)
T = TypeVar("T")
REDRAWN_EVERY = 1.0  # seconds
NOTHING = ""  # the unit of what is not counted
OFF = "TQDM_DISABLE"  # environment: no bars, as in processes that share a terminal


class Progress:
    """Progress of `total` units, of which `done` were done before. total=None: nobody knows.

    Without a bar, a line with percent and time left is logged at most every `every_seconds`, and
    always at the end of a known total; last_line=False: not there, so that short work has no line.
    In a `with`, the bar is taken away however the block ends. unit: of the bar; "B": the numbers
    are bytes.
    """

    def __init__(
        self,
        what: str,
        total: int | None,
        done: int = 0,
        every_seconds: float = 0.0,
        unit: str = "it",
        last_line: bool = True,
    ):
        self.what, self.total, self.began_at, self.every_seconds = what, total, done, every_seconds
        self.unit, self.last_line = unit, last_line
        self.began = self.last = time.monotonic()
        self.bar: tqdm[Any] | None = None
        self._open = contextlib.ExitStack()
        if shows_bars():
            screen = self._open.enter_context(above.bars())
            self.bar = self._open.enter_context(self._drawn(screen))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def advance(self, done: int, text: str = "", total: int | None = None) -> None:
        """Move to `done`. text: shown beside it. total: where it becomes known only now."""
        self.total = total or self.total
        if self.bar is not None:
            self.bar.total = self.total
            self.bar.set_postfix_str(text, refresh=False)
            self.move(done)
            return
        now = time.monotonic()
        at_end = self.last_line and self.total is not None and done >= self.total
        if now - self.last < self.every_seconds and not at_end:
            return
        self.last = now
        text = f"  {text}" if text else ""
        log.info("%s %s%s  %s", self.what, self._amount(done), text, self._time(done, now))

    def move(self, done: int) -> None:
        """Move the bar alone: no line, and the text beside it stays."""
        if self.bar is not None:
            self.bar.update(done - self.bar.n)

    @property
    def seconds(self) -> float:
        """Since this progress began."""
        return time.monotonic() - self.began

    def close(self) -> None:
        """Take the bar away."""
        self._open.close()

    def _amount(self, done: int) -> str:
        if self.total is None:
            return self._number(done)
        share = 100 * done // self.total
        return f"{self._number(done)}/{self._number(self.total)} ({share} %)"

    def _number(self, count: int) -> str:
        return tqdm.format_sizeof(count, "B") if self.unit == "B" else str(count)

    def _time(self, done: int, now: float) -> str:
        if self.total is None:
            return f"{clock(now - self.began)} so far"
        left = (now - self.began) / max(1, done - self.began_at) * (self.total - done)
        return f"{clock(left)} left"

    @contextlib.contextmanager
    def _drawn(self, screen: Any) -> "Iterator[tqdm[Any]]":
        """The bar, redrawn every second by a thread; gone after the block."""
        bar: tqdm[Any] = tqdm(
            total=self.total,
            initial=self.began_at,
            desc=self.what,
            unit=self.unit,
            unit_scale=self.unit == "B",
            bar_format="{desc}: {elapsed}" if self.unit == NOTHING else None,
            file=screen,
            leave=False,
            dynamic_ncols=True,
            miniters=1,  # else a bar that was fast at first is not drawn while it is slow
        )
        over = threading.Event()

        def redraw() -> None:
            while not over.wait(REDRAWN_EVERY):
                bar.refresh()

        thread = threading.Thread(target=redraw, daemon=True)
        if not bar.disable:
            thread.start()
        try:
            yield bar
        finally:
            over.set()
            if thread.is_alive():
                thread.join()
            bar.close()


def each(
    what: str, items: Iterable[T], total: int | None = None, every_seconds: float = 10.0
) -> Iterator[T]:
    """The items, with progress of how many are done.

    For a `for` statement: a comprehension that fails leaves the bar until its traceback is gone.
    """
    if total == 0:
        return
    with Progress(what, total, every_seconds=every_seconds, last_line=False) as progress:
        for done, item in enumerate(items):
            if done:
                progress.advance(done, total=total)
            yield item


def waiting(what: str) -> Progress:
    """Of work that has no pieces to count: a bar shows the time that it takes, and nothing else."""
    return Progress(what, None, unit=NOTHING)


def shows_bars() -> bool:
    """Whether a bar can be redrawn where standard error goes."""
    return (sys.stderr.isatty() or _in_notebook()) and not os.environ.get(OFF)


def clock(duration: float) -> str:
    """Seconds in words: 75 -> 1m15s."""
    minutes, seconds = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
