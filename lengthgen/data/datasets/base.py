"""The contract of a dataset, and what datasets share: a stable split, valid UTF-8, a cheap key.

A dataset is a file (a `Config` dataclass and one subclass of `Dataset`) and a YAML or more whose
`name` is the file's. Text is UTF-8 bytes; a synthetic dataset has integer symbols instead.
"""

import codecs
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lengthgen.config.dataclass_from import check
from lengthgen.errors import DataError

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Document:
    """One text. Its name is unique in the dataset and the same on every machine."""

    name: str
    text: bytes | np.ndarray  # UTF-8, or (T,) symbols where the dataset has symbols


class Dataset:
    """Base class. `documents` gives the same at every call."""

    Config: ClassVar[type]
    symbols: int | None = None  # number of different symbols; None: the documents are text
    # A window must be a whole document, whose length is part of what it says.
    whole_documents: bool = False
    # Some symbols can be known from one earlier place alone, which `distances` gives.
    retrieves: bool = False
    # Only `answers` are trained on and scored; it has whole documents and no floors.
    answered: bool = False
    # Whether a hash alone divides the documents: no column, folder or library says their split.
    by_hash: bool = True
    # How many tokens of the training documents are used; None: all. Set by chosen.make_dataset from
    # dataset.train_tokens, which every dataset has; `documents` gives all the same.
    train_tokens: int | None = None

    def __init__(self, config: Any):
        self.config = config
        self.left_out: Counter[str] = Counter()  # reason -> documents skipped while reading
        self.remarks: set[str] = set()  # sentences about how the documents were read

    @classmethod
    def fitted(
        cls, options: Mapping[str, Any], train_length: int, lengths: Sequence[int]
    ) -> dict[str, Any]:
        """The options, with what the run decides where they leave it open.

        lengths: to evaluate, in tokens.
        """
        return dict(options)

    @property
    def label(self) -> str:
        """The dataset's name in tables and figures."""
        return self.config.label

    @property
    def n_bytes(self) -> int | None:
        """About how many bytes of text all documents have, where that is cheap to know."""
        return None

    def documents(self, split: str) -> Iterator[Document]:
        """The documents of "train" or "validation", always in the same order. Raises DataError."""
        raise NotImplementedError

    def key(self) -> str:
        """Changes when the documents may have; cheap (sizes and times of files, no contents)."""
        raise NotImplementedError

    def distances(self, symbols: np.ndarray) -> np.ndarray:
        """(T,) int64: how far back a symbol that can be retrieved stands, else 0."""
        raise NotImplementedError

    def floors(self, symbols: np.ndarray, window: int | np.ndarray | None = None) -> np.ndarray:
        """(T,) float64 nats: the least possible mean loss on each symbol (sources/base.py)."""
        raise NotImplementedError

    def answers(self, symbols: np.ndarray) -> np.ndarray:
        """(..., T) bool: which symbols of whole documents are answers."""
        raise NotImplementedError


def options_key(config: Any, files: Iterable[Path] = ()) -> str:
    """A key from the options, without the label, and the sizes and times of files."""
    options = {name: value for name, value in dataclasses.asdict(config).items() if name != "label"}
    listing = []
    for path in files:
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from None
        # the change time too: copying can keep the size and the modification time
        listing.append([str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])
    return json.dumps([options, listing], sort_keys=True)


def check_fraction(validation_fraction: float) -> None:
    message = f"dataset.validation_fraction={validation_fraction}: expected between 0 and 1"
    check(0 < validation_fraction < 1, message)


def split_of(name: str, validation_fraction: float) -> str:
    """A document's split, by a hash of its name: whatever other documents there are."""
    return "validation" if place_of(name) < validation_fraction * 2**64 else "train"


def place_of(name: str) -> int:
    """The hash that decides a document's split, 0 to 2^64 - 1."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def utf8(raw: bytes, errors: str, place: str, start: int = 0) -> bytes:
    """`raw` as valid UTF-8 without NUL bytes: errors="replace" puts U+FFFD for what is not,
    "strict" raises DataError with the byte offset, counted from `start`.
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


def shown(path: str) -> str:
    """A path as a message has it: a very long one is cut."""
    return path if len(path) < 200 else f"{path[:60]}... ({len(path)} characters)"


def read(path: Path) -> bytes:
    """The file's bytes. Raises DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _first_fault(raw: bytes, piece: int = 1 << 20) -> int | None:
    """The offset of the first byte that is NUL or not UTF-8."""
    nul = raw.find(b"\0")
    if nul < 0 and len(raw) <= piece:
        try:
            raw.decode("utf-8")
            return None
        except UnicodeDecodeError as error:
            return error.start
    decoder = codecs.getincrementaldecoder("utf-8")()
    # piece by piece, so that the decoded copy of a large file is never in memory as a whole
    for first in range(0, len(raw), piece):
        pending = len(decoder.getstate()[0])  # bytes of a character begun in the piece before
        try:
            decoder.decode(raw[first : first + piece], final=first + piece >= len(raw))
        except UnicodeDecodeError as error:
            fault = first - pending + error.start
            return fault if nul < 0 else min(nul, fault)
    return None if nul < 0 else nul
