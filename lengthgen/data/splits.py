"""A dataset as token stores on disk, made once: `prepare_splits` finds them in the cache or builds them."""

import dataclasses
import hashlib
import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lengthgen import files
from lengthgen.config.dataclass_from import build
from lengthgen.data import datasets, tokenizers
from lengthgen.data.datasets.base import SPLITS, Dataset, Document
from lengthgen.data.tokens import TokenStore, open_store, write_store
from lengthgen.errors import ConfigError, DataError, DiskError

FORMAT = 1  # raised when the same source would now give other tokens
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Floors:
    """The least mean loss that is possible on each token of a synthetic dataset's validation documents: exact, not estimated."""

    store: TokenStore
    dataset: Dataset

    def __call__(self, document: int, start: int | None = None) -> np.ndarray:
        """(n_tokens,) float64 nats: entry t is the floor of token t, NaN for the one that begins the document.

        Given all of the document before t: no predictor can have a lower mean. With `start`: given only the tokens from `start` on, as
        a window that begins there has them, or NaN where the source has no exact rule for that.
        """
        symbols = self.store.document(document)[1:].numpy()
        seen = None if start is None else np.maximum(np.arange(len(symbols)) + min(1 - start, 0), 0)
        return np.concatenate(([np.nan], self.dataset.floors(symbols, seen)))

    @property
    def retrieves(self) -> bool:
        """Are there symbols that can be known from one place alone?"""
        return self.dataset.retrieves

    def distances(self, document: int) -> np.ndarray:
        """(T,) int64: how many symbols ago each symbol of a document that can be known from one place stood there; 0 at all others."""
        return self.dataset.distances(self.store.document(document)[1:].numpy())


@dataclass(frozen=True, eq=False)
class Splits:
    """A dataset as tokens. Every document begins with the tokeniser's begin-of-document token."""

    label: str  # the dataset's name in tables
    train: TokenStore
    validation: TokenStore
    tokenizer: str  # the tokeniser's key: same key, same ids
    vocab_size: int
    fingerprint: str  # 16 hex: of both stores and the tokeniser
    notes: tuple[str, ...]  # what was left out and why, with counts
    floors: Floors | None = (
        None  # the least loss possible on the validation documents; None for text, where nobody knows it
    )
    whole_documents: bool = False  # must a window be a whole document?
    answers: Callable[[np.ndarray], np.ndarray] | None = (
        None  # which symbols of a document are trained on and scored; None: all
    )
    user_code: Path | None = None  # the dataset's file, where it is not of the package


def make_dataset(options: Mapping[str, Any], folders: Sequence[Path] = ()) -> Dataset:
    """The dataset that a configuration describes; nothing is read yet. Raises ConfigError.

    folders: the user's own dataset/ folders, where NAME.py may be.
    """
    options = dict(options)
    if "name" not in options:
        raise ConfigError(f"dataset has no name; expected one of {', '.join(datasets.names())}")
    cls = datasets.load(options.pop("name"), folders)
    return cls(build(cls.Config, options, "dataset"))


def default_cache() -> Path:
    """$LENGTHGEN_CACHE, or ~/.cache/lengthgen."""
    return Path(os.environ.get("LENGTHGEN_CACHE") or Path.home() / ".cache" / "lengthgen")


def prepare_splits(
    dataset: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
    cache: Path | None = None,
    folders: Sequence[Path] = (),
) -> Splits:
    """The token stores of a dataset, from the cache when its source has not changed since. `cache` None: `default_cache()`.

    Raises ConfigError (options), DataError (the source, in one line) and DiskError (the cache).
    """
    cache = Path(cache) if cache is not None else default_cache()
    origin, wanted = make_dataset(dataset, folders), tokenizers.configured(tokenizer)
    coding = tokenizer["name"]
    if origin.symbols is not None:
        coding, wanted = "symbols", _own_symbols(origin, coding)
    parts = [FORMAT, dataset["name"], origin.key(), coding, wanted.request()]
    user_code = _user_code(dataset["name"], folders)
    if user_code:  # its code may change under the same name
        parts.append(hashlib.sha256(user_code.read_bytes()).hexdigest())
    request = json.dumps(parts)
    place = f"{dataset['name']}-{coding}-{hashlib.sha256(request.encode()).hexdigest()[:16]}"
    folder = cache / "stores" / re.sub(r"[^\w.-]", "_", place)
    splits = _open(folder, origin)
    if splits is None:
        _build(folder, origin, wanted, cache)
        splits = _open(folder, origin)
        if splits is None:
            raise DiskError(f"the token store {folder} vanished while it was built; run again")
    return dataclasses.replace(splits, user_code=user_code)


def check_lengths(
    splits: Splits, *, train_length: int, eval_length: int, cross_documents: bool
) -> None:
    """Raise DataError unless a training window and the longest evaluation window fit (each needs one token more)."""
    longest = int(splits.train.lengths.max())
    have, where = (
        (splits.train.n_tokens, "has") if cross_documents else (longest, "has documents of at most")
    )
    of = f"dataset {splits.label}, tokenizer {splits.tokenizer}"
    if splits.whole_documents and (
        cross_documents or set(splits.train.lengths) != {train_length + 1}
    ):
        raise DataError(
            f"train_length={train_length}, cross_documents={str(cross_documents).lower()}: a training window must be a whole document "
            f"of {longest} tokens ({of}): give train_length={longest - 1} (or dataset.document_length) and cross_documents=false"
        )
    if have < train_length + 1:
        raise DataError(
            f"train_length={train_length} needs {train_length + 1} tokens; the train split {where} {have} ({of}): "
            "choose a shorter train_length or more text"
        )
    longest = int(splits.validation.lengths.max())
    if longest < eval_length + 1:
        raise DataError(
            f"eval length {eval_length} needs a document of {eval_length + 1} tokens; the longest of {splits.validation.n_documents} "
            f"validation documents has {longest} ({of}): choose shorter evaluation lengths or longer documents"
        )


def _user_code(name: str, folders: Sequence[Path]) -> Path | None:
    file = datasets.source(name, folders)
    return None if file.parent == datasets.HERE else file


def _own_symbols(origin: Dataset, tokenizer: str) -> tokenizers.Symbols:
    """What codes a dataset of symbols. ConfigError where another tokeniser than the default was chosen for it."""
    if tokenizer != "bytes":
        raise ConfigError(
            f"tokenizer={tokenizer}: dataset {origin.label} is no text and has its own symbols; leave the tokenizer out"
        )
    return tokenizers.Symbols(origin.symbols)


def _open(folder: Path, origin: Dataset) -> Splits | None:
    """The splits in `folder`; None if they are not there whole."""
    try:
        described = json.loads((folder / "splits.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    try:
        stores = [open_store(folder / split) for split in SPLITS]
    except DataError as error:
        log.warning("%s; building it anew", str(error).split(";")[0])
        return None
    joined = [described["tokenizer"], *(store.fingerprint for store in stores)]
    return Splits(
        label=origin.label,
        train=stores[0],
        validation=stores[1],
        tokenizer=described["tokenizer"],
        vocab_size=stores[0].vocab_size,
        fingerprint=hashlib.sha256(json.dumps(joined).encode()).hexdigest()[:16],
        notes=tuple(described["notes"]),
        floors=None if origin.symbols is None or origin.answered else Floors(stores[1], origin),
        whole_documents=origin.whole_documents,
        answers=origin.answers if origin.answered else None,
    )


def _build(folder: Path, origin: Dataset, wanted: Any, cache: Path) -> None:
    log.info("dataset %s: tokenising into %s", origin.label, folder)
    coder = wanted.build(lambda: (document.text for document in origin.documents("train")), cache)
    origin.left_out.clear()
    held_out: set[bytes] = set()
    for split in reversed(SPLITS):  # validation first: what it holds is kept out of train
        documents = _with_ids(_distinct(origin, split, held_out), coder)
        first = next(documents, None)
        if first is None:
            raise DataError(_no_documents(origin, split))
        write_store(
            folder / split,
            itertools.chain([first], documents),
            vocab_size=coder.vocab_size,
            token_bytes=coder.token_bytes,
        )
    notes = _notes(origin)
    files.write_json(
        folder / "splits.json", {"tokenizer": coder.key, "notes": notes}
    )  # last: marks both stores as whole


def _distinct(origin: Dataset, split: str, held_out: set[bytes]) -> Iterator[Document]:
    """Documents with text; a train document whose whole text is also a validation document is left out.

    All documents of symbols: they are drawn independently, and to leave out equal ones would bend the law that they are drawn from.
    """
    if origin.symbols is not None:
        yield from origin.documents(split)
        return
    for document in origin.documents(split):
        if not document.text.strip():
            origin.left_out["document without text"] += 1
            continue
        digest = hashlib.sha256(document.text).digest()[:16]
        if split == "validation":
            held_out.add(digest)
        elif digest in held_out:
            origin.left_out["train document that is also in validation"] += 1
            continue
        yield document


def _with_ids(
    documents: Iterator[Document], coder: tokenizers.Tokenizer
) -> Iterator[tuple[str, np.ndarray]]:
    for document in documents:
        ids = coder.encode(document.text)
        name = document.name.encode(
            "utf-8", "backslashreplace"
        ).decode()  # file names may hold lone surrogates, tables may not
        yield name, np.concatenate((np.array([coder.begin], dtype=ids.dtype), ids))


def _notes(origin: Dataset) -> list[str]:
    return [f"{count} left out: {reason}" for reason, count in sorted(origin.left_out.items())]


def _no_documents(origin: Dataset, split: str) -> str:
    notes = "".join(f" ({note})" for note in _notes(origin))
    counts = {
        name: sum(1 for document in origin.documents(name) if document.text.strip())
        for name in SPLITS
    }
    return (
        f"dataset {origin.label}: nothing for the {split} split{notes}; "
        f"{counts['train']} train and {counts['validation']} validation documents with text, expected at least one in each: "
        "give more documents or divide them otherwise"
    )
