"""The contract of a dataset, and what every source shares: a stable split, the UTF-8 policy, a cheap key of files.

A dataset is one file in this folder (a `Config` dataclass and one subclass of `Dataset`) and at least one YAML in
configs/dataset/ whose `name` is the file's. Text is bytes of UTF-8 from here on; a synthetic dataset has symbols instead.
"""

import codecs
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lengthgen.errors import DataError

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Document:
    """One text that belongs together. Its name is unique in the dataset and stable over machines."""

    name: str
    text: bytes | np.ndarray  # UTF-8, or (T,) symbols where the dataset has symbols


class Dataset:
    """Base class of the sources. `documents` may be called several times and gives the same each time."""

    Config: ClassVar[type]
    symbols: int | None = (
        None  # how many different symbols its documents are drawn from; None: they are text
    )
    whole_documents: bool = False  # must a window be a whole document, because the document's length is part of what it says?
    retrieves: bool = False  # are there symbols that can be known from one earlier place alone, and does `distances` say which?
    answered: bool = False  # are only its answers trained on and scored? It then has whole documents and `answers`, and no floors

    def __init__(self, config: Any):
        self.config = config
        self.left_out: Counter[str] = Counter()  # reason -> documents passed over while reading

    @property
    def label(self) -> str:
        """The dataset's name in tables and figures."""
        return self.config.label

    def documents(self, split: str) -> Iterator[Document]:
        """The documents of "train" or "validation", in an order that depends on nothing but the data. Raises DataError."""
        raise NotImplementedError

    def key(self) -> str:
        """A text that changes when the documents may have changed; cheap (file sizes and times, no contents)."""
        raise NotImplementedError

    def distances(self, symbols: np.ndarray) -> np.ndarray:
        """(T,) int64: how many symbols ago a symbol that can be known from one place stood there; 0 at all others. Only with retrieves."""
        raise NotImplementedError

    def floors(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        """(T,) float64 nats: the least mean loss on each symbol of a document, as sources.base.Source has it. Only with symbols."""
        raise NotImplementedError

    def answers(self, symbols: np.ndarray) -> np.ndarray:
        """(..., T) bool: which symbols of whole documents, (..., T), are answers. Only where `answered`."""
        raise NotImplementedError


def options_key(config: Any, files: Iterable[Path] = ()) -> str:
    """A key made of a configuration (its label aside) and of the sizes and times of files."""
    options = {name: value for name, value in dataclasses.asdict(config).items() if name != "label"}
    listing = []
    for path in files:
        try:
            found = path.stat()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from None
        # the change time too: copying tools and editors can keep size and modification time
        listing.append(
            [
                str(path.absolute()),
                found.st_size,
                found.st_mtime_ns,
                found.st_ctime_ns,
                found.st_ino,
            ]
        )
    return json.dumps([options, listing], sort_keys=True)


def split_of(name: str, validation_fraction: float) -> str:
    """The split of a document by a hash of its name: stable when documents are added, removed or reordered."""
    number = int.from_bytes(
        hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big"
    )
    return "validation" if number < validation_fraction * 2**64 else "train"


def utf8(raw: bytes, errors: str, place: str, start: int = 0) -> bytes:
    """`raw` as valid UTF-8 text without NUL bytes; faults are replaced by U+FFFD where errors is "replace".

    Raises DataError with the byte offset, counted from `start`, where errors is "strict".
    """
    fault = _first_fault(raw)
    if fault is None:
        return raw
    if errors == "replace":
        return raw.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}").encode()
    raise DataError(
        f"{place}: byte 0x{raw[fault]:02x} at offset {start + fault} is not UTF-8 text; "
        "convert or remove the file, or set dataset.errors=replace"
    )


def read(path: Path) -> bytes:
    """The file's bytes. Raises DataError in one line."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _first_fault(raw: bytes, piece: int = 1 << 20) -> int | None:
    """The offset of the first byte that is NUL or not UTF-8. Decodes piece by piece, so that memory stays bounded."""
    nul = raw.find(b"\0")
    decoder = codecs.getincrementaldecoder("utf-8")()
    for first in range(0, len(raw), piece):
        pending = len(decoder.getstate()[0])  # bytes of a character begun in the piece before
        try:
            decoder.decode(raw[first : first + piece], final=first + piece >= len(raw))
        except UnicodeDecodeError as error:
            fault = first - pending + error.start
            return fault if nul < 0 else min(nul, fault)
    return None if nul < 0 else nul
