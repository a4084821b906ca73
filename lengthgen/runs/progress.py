"""Progress: a bar on a terminal or in a notebook, plain lines in a log."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from lengthgen.config import output

log = logging.getLogger(__name__)


class Progress:
    """Progress of `total` units, of which `done` were done before.

    Without a bar, a line with percent and time left is logged at most every `every_seconds`, and
    always at the end.
    """

    def __init__(self, what: str, total: int, done: int = 0, every_seconds: float = 0.0):
        self.what, self.total, self.began_at, self.every_seconds = what, total, done, every_seconds
        self.began = self.last = time.monotonic()
        self.bar = None
        if sys.stderr.isatty() or _in_notebook():
            self.bar = tqdm(total=total, initial=done, desc=what, leave=False, dynamic_ncols=True)

    def advance(self, done: int, text: str = "", total: int | None = None) -> None:
        """Move to `done`. text: shown beside it. total: where it becomes known only now."""
        self.total = total or self.total
        if self.bar is not None:
            self.bar.total = self.total
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(done - self.bar.n)
            return
        now = time.monotonic()
        if now - self.last < self.every_seconds and done < self.total:
            return
        self.last = now
        percent = 100 * done // self.total
        left = (now - self.began) / max(1, done - self.began_at) * (self.total - done)
        text = f"  {text}" if text else ""
        log.info(
            "%s %d/%d (%d %%)%s  %s left", self.what, done, self.total, percent, text, clock(left)
        )

    @property
    def seconds(self) -> float:
        """Since this progress began."""
        return time.monotonic() - self.began

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


@contextlib.contextmanager
def messages_shown() -> Iterator[None]:
    """Log the package's messages to standard output, unless the caller has set up logging."""
    logger = logging.getLogger("lengthgen")
    if logger.handlers or logging.getLogger().handlers:
        yield
        return
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with logged_to(logging.StreamHandler(sys.stdout), "%(message)s"):
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def logged_to(handler: logging.Handler, form: str) -> Iterator[None]:
    """The package's messages go to `handler` as well, without secrets."""
    logger = logging.getLogger("lengthgen")
    handler.setFormatter(output.Formatter(form))
    # A full disk under log.txt would print a traceback at each line; the lines are on screen too.
    handler.handleError = lambda record: None  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):  # what the disk had no room for is not written now
            handler.close()


def clock(duration: float) -> str:
    """Seconds in words: 75 -> 1m15s."""
    minutes, seconds = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
