"""The package's messages: to standard output, and to log files."""

import contextlib
import logging
import logging.handlers
import sys
from collections.abc import Iterator
from multiprocessing.context import SpawnContext
from typing import Any, TextIO

from lengthgen.config import output
from lengthgen.terminal import progress


class Screen(logging.StreamHandler):
    """To standard output as it is at each message: bars exchange it while they are shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stdout


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
        with logged_to(Screen(), "%(message)s"):
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


@contextlib.contextmanager
def gathered(context: SpawnContext) -> Iterator[Any]:
    """A queue for other processes (`send`), whose messages this one shows above its bars."""
    queue, screen = context.Queue(), Screen()
    screen.setFormatter(output.Formatter("%(message)s"))
    listener = logging.handlers.QueueListener(queue, screen)
    listener.start()
    try:
        yield queue
    finally:
        listener.stop()


def send(queue: Any) -> None:
    """From here on this process shows no messages: the one that made the queue does."""
    logger = logging.getLogger("lengthgen")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.handlers.QueueHandler(queue))
    # That one's bar is the progress of all; the lines of several at once would bury the messages.
    logging.getLogger(progress.__name__).setLevel(logging.WARNING)
