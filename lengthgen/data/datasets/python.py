"""The embedded default: the Python sources of the running interpreter's own standard library, one document a file.

Real text with long documents, on every machine, without a download. Left out by default: tests, tables of near-identical
data (code pages, documentation topics), installed packages and files that the interpreter's build wrote.
"""

import io
import os
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.base import Dataset, Document, options_key, read, split_of
from lengthgen.errors import DataError

EXCLUDED = (
    "site-packages", "dist-packages", "lib-dynload", "__pycache__", "_bundled",  # not the library's own sources
    "test", "tests", "idle_test",  # many near-copies of the same lines
    "encodings", "pydoc_data", "turtledemo",  # code pages and topics are tables, not prose or code
    "_sysconfigdata*", "config-*",  # differ from build to build
)  # fmt: skip


@dataclass
class Config:
    label: str = "python"  # name in tables and figures
    include: list[str] = field(
        default_factory=list
    )  # top-level entries of the library to take, such as json; empty: all
    exclude: list[str] = field(
        default_factory=lambda: list(EXCLUDED)
    )  # names of files and folders to leave out (shell patterns)
    validation_fraction: float = 0.2  # share of the files, chosen by a hash of their path

    def __post_init__(self):
        check(
            0 < self.validation_fraction < 1,
            f"dataset.validation_fraction={self.validation_fraction}: expected between 0 and 1",
        )


class Python(Dataset):
    """Files of sysconfig's stdlib path, sorted by path; as UTF-8 with LF line ends whatever their own encoding."""

    Config = Config

    def documents(self, split: str) -> Iterator[Document]:
        for name, path in self._files():
            if split_of(name, self.config.validation_fraction) != split:
                continue
            text = _decoded(read(path))
            if text is None:
                self.left_out["file not decodable"] += 1
            else:
                yield Document(name, text)

    def key(self) -> str:
        return options_key(self.config, (path for _, path in self._files()))

    def _files(self) -> list[tuple[str, Path]]:
        root = Path(sysconfig.get_path("stdlib"))
        found = []
        for folder, folders, files in os.walk(root):
            here = Path(folder)
            folders[:] = [name for name in folders if self._wanted(name, here == root)]
            names = [
                name for name in files if name.endswith(".py") and self._wanted(name, here == root)
            ]
            found += [((here / name).relative_to(root).as_posix(), here / name) for name in names]
        if not found:
            wanted = f" in {', '.join(self.config.include)}" if self.config.include else ""
            raise DataError(
                f"no Python sources{wanted} under {root}; expected the standard library: use dataset=files dataset.path=..."
            )
        return sorted(found)

    def _wanted(self, name: str, top: bool) -> bool:
        if any(fnmatchcase(name, pattern) for pattern in self.config.exclude):
            return False
        return (
            not top
            or not self.config.include
            or name.removesuffix(".py") in self.config.include
            or name in self.config.include
        )


def _decoded(raw: bytes) -> bytes | None:
    """A source file by its coding cookie -> UTF-8 with LF line ends; None if it cannot be decoded."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        text = raw.decode(encoding)
    except (SyntaxError, UnicodeDecodeError):
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n").encode()
