"""Lines that say whose they are, where several processes write to one terminal or log."""

import logging
import sys
from collections.abc import Iterable
from typing import Any, TextIO


class NamedLines:
    """A text stream whose lines begin with `[name] `, whole lines at a time; else as the stream."""

    def __init__(self, stream: TextIO, name: str):
        self._stream, self.name = stream, name
        self._begun = ""  # a line that has no end yet

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        # In one call: lines of other processes come between calls.
        self._stream.write("".join(f"[{self.name}] {line}\n" if line else "\n" for line in lines))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def end(self) -> None:
        """Write what was held back."""
        if self._begun:
            self.write("\n")
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def log_to_screen() -> None:
    """The root logger's handlers for the terminal write to standard output as it is now."""
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setStream(sys.stdout)
