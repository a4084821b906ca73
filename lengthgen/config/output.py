"""What the process prints and logs, without secrets: tracebacks and libraries' words as well."""

import contextlib
import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TextIO

from lengthgen.config.redaction import redact_text


class Redacted:
    """A text stream that removes secrets from each text that is written; else as the stream."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact_text(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Formatter(logging.Formatter):
    """Of a log whose lines hold no secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return redact_text(super().format(record))


@contextlib.contextmanager
def without_secrets() -> Iterator[None]:
    """Standard output and error go through `Redacted` within the block."""
    before = sys.stdout, sys.stderr
    if not isinstance(sys.stdout, Redacted):
        sys.stdout = Redacted(sys.stdout)
    if not isinstance(sys.stderr, Redacted):
        sys.stderr = Redacted(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """For sys.excepthook."""
    lines = traceback.format_exception(kind, error, trace)
    print(redact_text("".join(lines)), end="", file=sys.stderr)
