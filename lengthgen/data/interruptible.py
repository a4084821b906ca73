"""Long calls of a library that hears no signal, so that Ctrl-C is heard at once."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
POLL = 0.2  # seconds between two looks for a signal


def run(work: Callable[[Callable[[Iterable[str]], Iterator[str]]], T]) -> T:
    """What work(stoppable) returns. It runs in a thread, and this one waits, hearing signals.

    stoppable: of an iterable that work reads: it ends with an error once a signal has come. Work
    that reads nothing more goes on unheard until it or the process ends.
    """
    stopped, done, failed = threading.Event(), [], []

    def stoppable(texts: Iterable[str]) -> Iterator[str]:
        for text in texts:
            if stopped.is_set():
                raise RuntimeError("interrupted")
            yield text

    def target() -> None:
        try:
            done.append(work(stoppable))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL)
    except BaseException:
        stopped.set()
        thread.join(POLL)
        raise
    if failed:
        raise failed[0]
    return done[0]
