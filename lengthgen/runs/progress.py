"""One line of progress worth reading: a bar on a terminal, plain lines otherwise."""

import logging
import sys
import time

from tqdm import tqdm

log = logging.getLogger(__name__)


class Progress:
    """Progress of a run of `total` units, `done` of them behind it already.

    `advance(done, text, total)` moves to `done` (and to another `total`, where it is known only on the way); on a terminal the bar
    shows `text`, otherwise a plain line is logged with percent and time left, at most every `every_seconds` and always at the end.
    """

    def __init__(self, what: str, total: int, done: int = 0, every_seconds: float = 0.0):
        self.what, self.total, self.began_at, self.every_seconds = what, total, done, every_seconds
        self.began = self.last = time.monotonic()
        self.bar = (
            tqdm(total=total, initial=done, desc=what, leave=False, dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def advance(self, done: int, text: str = "", total: int | None = None) -> None:
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
        left = (now - self.began) / max(1, done - self.began_at) * (self.total - done)
        log.info(
            "%s %d/%d (%d %%)%s  %s left",
            self.what,
            done,
            self.total,
            100 * done // self.total,
            f"  {text}" if text else "",
            clock(left),
        )

    @property
    def seconds(self) -> float:
        """Since this progress began."""
        return time.monotonic() - self.began

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def clock(seconds: float) -> str:
    """75 -> 1m15s."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}h{minutes:02d}m"
        if hours
        else f"{minutes}m{seconds:02d}s"
        if minutes
        else f"{seconds}s"
    )
