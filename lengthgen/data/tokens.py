"""The token store: one flat, memory-mapped stream of token ids, with document offsets and names.

On disk a store is a folder, written once and never changed: tokens.bin (uint16, or int32 for more
than 65,536 ids), offsets.npy, token_bytes.npy, names.json, and store.json with the sizes and
SHA-256 of the others, which is written last. All of it is checked at every opening, at about 1 GB/s
a core: no token is read that was not written.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from lengthgen import files
from lengthgen.errors import DataError

FORMAT = 1
FILES = ("tokens.bin", "offsets.npy", "token_bytes.npy", "names.json")
DAMAGES = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError)
LARGEST_UINT16_VOCABULARY = 65_536


@dataclass(frozen=True, eq=False)
class TokenStore:
    """An opened store. Document i is stream[offsets[i]:offsets[i + 1]]."""

    stream: Tensor  # (n_tokens,) int16 holding the bits of uint16, or int32; read through `widen`
    offsets: np.ndarray  # (n_documents + 1,) int64
    names: list[str]  # document ids, unique
    vocab_size: int
    # (vocab_size,) int64: bytes of text that a token stands for; 0 for special tokens
    token_bytes: np.ndarray
    fingerprint: str  # 16 hex: SHA-256 over tokens, offsets and vocab_size
    # results of `starts`, by length
    _starts: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @property
    def n_documents(self) -> int:
        return len(self.names)

    @property
    def n_tokens(self) -> int:
        return self.stream.numel()

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens in each document, (n_documents,) int64."""
        return np.diff(self.offsets)

    def starts(self, length: int) -> np.ndarray:
        """(n_documents,) int64: how many windows of length + 1 tokens lie in documents 0..i."""
        if length not in self._starts:
            self._starts[length] = np.cumsum(np.maximum(self.lengths - length, 0))
        return self._starts[length]

    def widen(self, raw: Tensor) -> Tensor:
        """Values of `stream`, any shape -> token ids, int64."""
        # the mask takes away the sign that int16 gives to ids from 32,768 on
        return raw.long() & 0xFFFF if raw.dtype == torch.int16 else raw.long()

    def tokens(self, first: int, last: int) -> Tensor:
        """Token ids first..last-1 of the stream, int64."""
        if not 0 <= first <= last <= self.n_tokens:
            raise IndexError(f"tokens {first}..{last} of a stream of {self.n_tokens}")
        return self.widen(self.stream[first:last])

    def document(self, index: int) -> Tensor:
        """Token ids of one document, int64."""
        if not 0 <= index < self.n_documents:
            raise IndexError(f"document {index} of {self.n_documents}")
        return self.tokens(int(self.offsets[index]), int(self.offsets[index + 1]))


def write_store(
    folder: Path,
    documents: Iterable[tuple[str, np.ndarray]],
    *,
    vocab_size: int,
    token_bytes: np.ndarray,
) -> TokenStore:
    """Write (name, token ids) pairs as a store at `folder` and open it.

    One document is in memory at a time. The folder appears complete or not at all; of two processes
    that write it at once, the first wins. Raises DataError (no documents, a name twice, ids that
    are not integers in [0, vocab_size)) and DiskError.
    """
    folder = Path(folder)
    # a leftover younger than a day may be another machine at work
    files.remove_leftovers(folder, older_than=86_400)

    def same() -> bool:
        try:
            return open_store(folder).fingerprint == fingerprint
        except DataError:
            return False

    with files.replacing_folder(folder, keep=same) as temporary:
        fingerprint = _write_files(temporary, documents, vocab_size, token_bytes)
    return open_store(folder)


def open_store(folder: Path) -> TokenStore:
    """Open a store, checked against store.json. Raises DataError; repairs nothing."""
    folder = Path(folder)
    try:
        described = json.loads((folder / "store.json").read_text("utf-8"))
        if described["format"] != FORMAT:
            raise ValueError(f"format {described['format']}, expected {FORMAT}")
        summed = {name: _checked(folder / name, *described["files"][name]) for name in FILES}
        store = TokenStore(
            stream=_map(folder / "tokens.bin", described["vocab_size"], described["n_tokens"]),
            offsets=np.load(folder / "offsets.npy", allow_pickle=False),
            names=json.loads((folder / "names.json").read_text("utf-8")),
            vocab_size=described["vocab_size"],
            token_bytes=np.load(folder / "token_bytes.npy", allow_pickle=False),
            fingerprint=described["fingerprint"],
        )
        n, tokens = store.n_documents, store.n_tokens
        if store.offsets.shape != (n + 1,) or store.offsets[-1] != tokens:
            raise ValueError(f"{n} names and {tokens} tokens do not fit the offsets")
        # it binds the vocabulary's size to ids that were checked against it
        fingerprint = _fingerprint(summed["tokens.bin"], store.offsets, store.vocab_size)
        if (store.fingerprint, described["n_documents"]) != (fingerprint, n):
            raise ValueError("store.json has changed since it was written")
        if store.token_bytes.shape != (store.vocab_size,):
            raise ValueError(f"token_bytes.npy does not fit {store.vocab_size} ids")
        return store
    # reading a damaged JSON or array can fail in all these ways
    except DAMAGES as e:
        what: object = e
        if isinstance(e, OSError) and e.filename:
            what = f"{e.strerror}: {Path(e.filename).name}"
        advice = "delete that folder and run again"
        raise DataError(f"the token store {folder} is damaged ({what}); {advice}") from None


def _write_files(
    folder: Path,
    documents: Iterable[tuple[str, np.ndarray]],
    vocab_size: int,
    token_bytes: np.ndarray,
) -> str:
    """Returns the fingerprint."""
    if token_bytes.shape != (vocab_size,):
        expected = f"({vocab_size},), one entry a token"
        raise DataError(f"token_bytes has shape {token_bytes.shape}; expected {expected}")
    with open(folder / "tokens.bin", "wb") as stream:
        offsets, names, digest = _write_stream(stream, documents, vocab_size)
    described = {"tokens.bin": [(folder / "tokens.bin").stat().st_size, digest.hexdigest()]}
    arrays = {"offsets.npy": offsets, "token_bytes.npy": token_bytes.astype("<i8")}
    for name, array in arrays.items():
        np.save(folder / name, array, allow_pickle=False)
    (folder / "names.json").write_text(json.dumps(names), "utf-8")
    for name in (*arrays, "names.json"):
        described[name] = [(folder / name).stat().st_size, _sha256(folder / name).hexdigest()]
    fingerprint = _fingerprint(digest, offsets, vocab_size)
    summary = {
        "format": FORMAT,
        "vocab_size": vocab_size,
        "n_tokens": int(offsets[-1]),
        "n_documents": len(names),
        "fingerprint": fingerprint,
        "files": described,
    }
    (folder / "store.json").write_text(json.dumps(summary, indent=1), "utf-8")
    return fingerprint


def _write_stream(
    file: BinaryIO, documents: Iterable[tuple[str, np.ndarray]], vocab_size: int
) -> tuple[np.ndarray, list[str], Any]:
    """Write the ids. Returns offsets, names and a running SHA-256 of the bytes written."""
    storage = "<u2" if vocab_size <= LARGEST_UINT16_VOCABULARY else "<i4"
    lengths, digest = [0], hashlib.sha256()
    names: dict[str, None] = {}  # ordered, and fast to search
    for name, ids in documents:
        if name in names:
            raise DataError(
                f"two documents are named {name!r}; expected unique names: for records, another "
                "column as dataset.id_key, or null"
            )
        ids = np.asarray(ids)
        _check_ids(name, ids, vocab_size)
        raw = np.ascontiguousarray(ids, dtype=storage).data  # no copy where it is stored so already
        file.write(raw)
        digest.update(raw)
        lengths.append(ids.size)
        names[name] = None
    if not names:
        raise DataError("no documents for a token store; expected at least one")
    return np.cumsum(lengths, dtype="<i8"), list(names), digest


def _check_ids(name: str, ids: np.ndarray, vocab_size: int) -> None:
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        kind = f"type {ids.dtype} and shape {ids.shape}"
        raise DataError(f"document {name!r}: token ids of {kind}; expected one row of integers")
    if ids.size == 0:
        raise DataError(f"document {name!r} has no tokens; expected at least one")
    if ids.min() < 0 or ids.max() >= vocab_size:
        position = int(np.flatnonzero((ids < 0) | (ids >= vocab_size))[0])
        expected = f"0 to {vocab_size - 1}, the tokenizer and its vocab_size do not fit"
        token = f"token id {int(ids[position])} at position {position}"
        raise DataError(f"document {name!r}: {token}; expected {expected}")


def _checked(path: Path, size: int, digest: str) -> Any:
    """The SHA-256 of a file, as an object. ValueError unless it is the recorded one."""
    actual = path.stat().st_size
    if actual != size:
        raise ValueError(f"{path.name} has {actual} bytes, expected {size}")
    summed = _sha256(path)
    if summed.hexdigest() != digest:
        raise ValueError(f"{path.name} has changed since it was written")
    return summed


def _sha256(path: Path) -> Any:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256")


def _fingerprint(tokens: Any, offsets: np.ndarray, vocab_size: int) -> str:
    """16 hex. tokens: SHA-256 of the stream, as an object."""
    digest = tokens.copy()
    digest.update(offsets.tobytes() + str(vocab_size).encode())
    return digest.hexdigest()[:16]


def _map(path: Path, vocab_size: int, n_tokens: int) -> Tensor:
    dtype = torch.int16 if vocab_size <= LARGEST_UINT16_VOCABULARY else torch.int32
    if path.stat().st_size != n_tokens * dtype.itemsize or n_tokens == 0:
        raise ValueError(f"{path.name} does not hold {n_tokens} tokens")
    return torch.from_file(str(path), shared=False, size=n_tokens, dtype=dtype)
