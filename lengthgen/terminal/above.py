"""Lines above the bars: while a bar is shown on a terminal, what the process prints never cuts it.

Standard output and error then hold text back until its line is whole, take the bars away, write the
line, and draw the bars again.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from tqdm import tqdm

REDRAWS = ("\r", "\033")  # of a bar that is not ours: it knows how to stand beside others


class Above:
    """A text stream whose lines stand above the bars on `screen`; else as the stream.

    It may outlive the bars, where a library has kept it: it then writes at once.
    """

    def __init__(self, stream: TextIO, screen: TextIO):
        self.stream, self._screen = stream, screen
        self._begun = ""  # a line that has no end yet
        self.bars_are_shown = True

    def write(self, text: str) -> int:
        if not self.bars_are_shown or any(each in text for each in REDRAWS):
            self.stream.write(text)
            return len(text)
        lines, end, self._begun = (self._begun + text).rpartition("\n")
        if end:
            with tqdm.external_write_mode(file=self._screen):
                self.stream.write(lines + end)
                self.stream.flush()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def let_go(self) -> None:
        """The bars are gone: write what was held back."""
        self.bars_are_shown = False
        if self._begun:
            self.stream.write(self._begun)
            self._begun = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def bars() -> Iterator[TextIO]:
    """Where bars are to be drawn in the block, while standard output and error stay above them."""
    if isinstance(sys.stderr, Above):  # inside another such block
        yield sys.stderr.stream
        return
    before = sys.stdout, sys.stderr
    screen = sys.stderr
    after = [Above(one, screen) if one.isatty() else one for one in before]
    sys.stdout, sys.stderr = after
    try:
        yield screen
    finally:
        # Another may have put its own there since, and has to take it away itself.
        if [sys.stdout, sys.stderr] == after:
            sys.stdout, sys.stderr = before
        for one in after:
            if isinstance(one, Above):
                one.let_go()
