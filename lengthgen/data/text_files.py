"""The text of a file as valid UTF-8, whole or by lines; also of .gz, .zst, .bz2 and .xz.

A few kilobytes may unpack to more than a machine holds. A compressed file is therefore unpacked by
pieces, no further than to the first byte that is not text, and a document or line of more than
`most_bytes` is refused.
"""

import bz2
import gzip
import io
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from lengthgen.data.datasets.base import utf8
from lengthgen.errors import DataError

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
PIECE = 1 << 24  # bytes that are unpacked before they are looked at
SHARE = 4  # of the memory: a text is held as bytes, as characters and as tokens
BOM = b"\xef\xbb\xbf"


def most_bytes() -> int:
    """The longest document or line: a quarter of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE


def read(path: Path, errors: str) -> bytes:
    """The whole text. errors: of `utf8`. DataError, and what the libraries raise."""
    if path.suffix.lower() not in COMPRESSED:
        return utf8(path.read_bytes(), errors, str(path))
    parts, start, rest = [], 0, b""
    with opened(path) as file:
        while piece := file.read(PIECE):
            piece = rest + piece
            end = _whole_characters(piece)
            parts.append(utf8(piece[:end], errors, str(path), start))
            start, rest = start + end, piece[end:]
            _refuse_long(start, path, "")
    parts.append(utf8(rest, errors, str(path), start))
    return b"".join(parts)


def lines(path: Path, errors: str) -> Iterator[bytes]:
    """The lines, each checked to be UTF-8, without a byte-order mark."""
    start = 0
    with opened(path) as file:
        for number, line in enumerate(_lines(file, path, errors), 1):
            _refuse_long(len(line), path, f"line {number} ")
            text = line.removeprefix(BOM) if not start else line
            yield utf8(text, errors, str(path), start)
            start += len(line)


def opened(path: Path) -> IO[bytes]:
    """The bytes of the file, unpacked."""
    kind = path.suffix.lower()
    if kind == ".zst":
        import pyarrow

        # Python has no zstd of its own before 3.14
        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    openers: dict[str, Callable[..., Any]]
    openers = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return openers.get(kind, open)(path, "rb")


def _lines(file: IO[bytes], path: Path, errors: str) -> Iterator[bytes]:
    """As the file has them; a long one ends where the limits are passed, or where it is no text."""
    while line := file.readline(PIECE):
        if len(line) == PIECE and not line.endswith(b"\n"):
            parts, size = [line], PIECE
            while not parts[-1].endswith(b"\n") and size <= most_bytes():
                if errors == "strict" and b"\0" in parts[-1]:
                    break  # `utf8` says where
                if not (more := file.readline(PIECE)):
                    break
                parts.append(more)
                size += len(more)
            line = b"".join(parts)
        yield line


def _whole_characters(text: bytes) -> int:
    """Where the last character that is whole ends."""
    for back in range(1, min(4, len(text) + 1)):
        byte = text[-back]
        if byte & 0xC0 != 0x80:  # no continuation: a character begins here
            length = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            return len(text) - back if length > back else len(text)
    return len(text)


def _refuse_long(size: int, path: Path, part: str) -> None:
    if size > most_bytes():
        raise DataError(
            f"{path}: {part}holds more than {most_bytes():,} bytes, a quarter of this "
            "machine's memory; expected shorter documents: divide it"
        )
