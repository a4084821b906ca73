"""A thread that looks at something again and again while a block runs."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def looking(look: Callable[[], bool], every: float) -> Iterator[None]:
    """Call `look` at once and every so many seconds, until it is True or the block ends."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set() and not look():
            over.wait(every)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
