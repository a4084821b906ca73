"""The default: the sources of the interpreter's own standard library, one document a file.

Real text with long documents on every machine, without a download.
"""

import io
import os
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from lengthgen.data.datasets.base import (
    Dataset,
    Document,
    check_fraction,
    options_key,
    read,
    split_of,
)
from lengthgen.errors import DataError

EXCLUDED = (
    # not the library's own sources
    "site-packages", "dist-packages", "lib-dynload", "__pycache__", "_bundled",
    "test", "tests", "idle_test",  # many near-copies of the same lines
    "encodings", "pydoc_data", "turtledemo",  # code pages and topics are tables, not prose or code
    "_sysconfigdata*", "config-*",  # differ from build to build
)  # fmt: skip


@dataclass
class Config:
    label: str = "python"  # name in tables and figures
    # top-level entries of the library to take, such as json; empty: all
    include: list[str] = field(default_factory=list)
    # names of files and folders to leave out (shell patterns)
    exclude: list[str] = field(default_factory=lambda: list(EXCLUDED))
    validation_fraction: float = 0.2  # share of the files, chosen by a hash of their path

    def __post_init__(self):
        check_fraction(self.validation_fraction)


class Python(Dataset):
    """Files of sysconfig's stdlib path, sorted by path; UTF-8 with LF line ends."""

    Config = Config

    def documents(self, split: str) -> Iterator[Document]:
        for name, path in self._files():
            if split_of(name, self.config.validation_fraction) != split:
                continue
            text = decoded(read(path))
            if text is None:
                self.left_out["file not decodable"] += 1
            else:
                yield Document(name, text)

    def key(self) -> str:
        return options_key(self.config, (path for _, path in self._files()))

    def _files(self) -> list[tuple[str, Path]]:
        root = Path(sysconfig.get_path("stdlib"))
        sources = []
        for folder, folders, files in os.walk(root):
            here = Path(folder)
            # os.walk goes on into what is left in `folders`
            folders[:] = [name for name in folders if self._wanted(name, here == root)]
            for name in files:
                if name.endswith(".py") and self._wanted(name, here == root):
                    path = here / name
                    sources.append((path.relative_to(root).as_posix(), path))
        if not sources:
            wanted = f" in {', '.join(self.config.include)}" if self.config.include else ""
            raise DataError(
                f"no Python sources{wanted} under {root}; "
                "expected the standard library: use dataset=files dataset.path=..."
            )
        return sorted(sources)

    def _wanted(self, name: str, top: bool) -> bool:
        if any(fnmatchcase(name, pattern) for pattern in self.config.exclude):
            return False
        include = self.config.include
        return not top or not include or name in include or name.removesuffix(".py") in include


def decoded(raw: bytes) -> bytes | None:
    """A source file, decoded by its coding cookie -> UTF-8, LF; None if not decodable."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        text = raw.decode(encoding)
    except (SyntaxError, UnicodeDecodeError):
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n").encode()
