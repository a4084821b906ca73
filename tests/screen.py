"""What a person sees on a terminal: a program on a pseudo-terminal, and the screen it leaves."""

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONTROLS = re.compile(r"\r|\n|\x1b\[(\d*)([A-K])|[^\r\n\x1b]+")
WIDTH = 100


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "PYTHONUNBUFFERED": "1"}


class Terminal:
    """A pseudo-terminal with a program in it, whose signals are as from a shell's foreground."""

    def __init__(self, *arguments: str, folder: Path):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True, preexec_fn=take_terminal,
        )  # fmt: skip
        os.close(theirs)
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may cut a letter

    def read_until(self, text: str = "\0") -> str:
        """All that was written, at least up to this text; by default to the end."""
        while text not in self.raw:
            try:
                part = os.read(self.ours, 1 << 16)
            except OSError:  # Linux's end of a pseudo-terminal
                part = b""
            if not part:
                break
            self.raw += self._decoder.decode(part)
        return self.raw

    def press(self, key: str) -> None:
        os.write(self.ours, key.encode())

    def end(self) -> int:
        """The exit code, after all was read."""
        self.read_until()
        os.close(self.ours)
        return self.process.wait()


def lines(raw: str) -> list[str]:
    """The lines of a screen without an end, after all that a program wrote; none blank at last."""
    rows, row, column = [""], 0, 0
    for control in CONTROLS.finditer(raw):
        text = control[0]
        if text == "\r":
            column = 0
        elif text == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif control[2] == "A":
            row -= int(control[1] or 1)
        elif control[2] == "K":
            rows[row] = rows[row][:column]
        else:
            before = rows[row].ljust(column)
            rows[row] = before[:column] + text + before[column + len(text) :]
            column += len(text)
    return "\n".join(each.rstrip() for each in rows).rstrip().split("\n")
