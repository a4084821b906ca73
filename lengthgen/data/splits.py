"""A dataset as token stores on disk: `prepare_splits` finds them in the cache or builds them."""

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
from lengthgen.config import own_code, paths
from lengthgen.data import limited, own_hooks, shown, tokenizers
from lengthgen.data.chosen import make_dataset, user_code_of
from lengthgen.data.datasets.base import SPLITS, Dataset, Document
from lengthgen.data.documents import Reader
from lengthgen.data.tokens import TokenStore, open_store, write_store
from lengthgen.errors import ConfigError, DataError, DiskError

FORMAT = 1  # raised when the same source would now give other tokens
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Floors:
    """The least possible mean loss on each token of a synthetic dataset's validation documents."""

    store: TokenStore
    dataset: Dataset
    code: Path | None = None  # the dataset's file, where it is the user's own

    def __call__(self, document: int, start: int | None = None) -> np.ndarray:
        """(n_tokens,) float64 nats; NaN for the begin-of-document token.

        The predictor sees all of the document before each token; with `start`, only the tokens from
        there on, as a window does: NaN without an exact rule.
        """
        symbols = self.store.document(document)[1:].numpy()
        window = None
        if start is not None:
            window = np.maximum(np.arange(len(symbols)) + min(1 - start, 0), 0)
        floors = own_hooks.checked(self.dataset.floors, self.code)
        return np.concatenate(([np.nan], floors(symbols, window)))

    @property
    def retrieves(self) -> bool:
        return self.dataset.retrieves

    def distances(self, document: int) -> np.ndarray:
        """As the dataset's, of a stored document."""
        distances = own_hooks.checked(self.dataset.distances, self.code)
        return distances(self.store.document(document)[1:].numpy())


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
    floors: Floors | None = None  # None: nobody knows them, as for text
    whole_documents: bool = False  # a window must be a whole document
    # which symbols of a document are trained on and scored; None: all
    answers: Callable[[np.ndarray], np.ndarray] | None = None
    user_code: Path | None = None  # the dataset's file, where it is not the package's


def default_cache() -> Path:
    """$LENGTHGEN_CACHE, or ~/.cache/lengthgen."""
    given = os.environ.get("LENGTHGEN_CACHE") or Path.home() / ".cache" / "lengthgen"
    return paths.folder(given, "LENGTHGEN_CACHE")


def prepare_splits(
    dataset: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
    cache: Path | None = None,
    folders: Sequence[Path] = (),
) -> Splits:
    """The token stores of a dataset, built unless the cache has them and the source is unchanged.

    cache: None is `default_cache()`. folders: as in `make_dataset`.
    Raises ConfigError (options), DataError (the source) and DiskError (the cache).
    """
    cache = Path(cache) if cache is not None else default_cache()
    source, name, coding = make_dataset(dataset, folders), dataset["name"], tokenizer["name"]
    recipe = tokenizers.configured(tokenizer)
    if source.symbols is not None:
        if coding != "bytes":  # the default
            text = f"dataset {source.label} is no text and has its own symbols"
            raise ConfigError(f"tokenizer={coding}: {text}; leave the tokenizer out")
        recipe, coding = tokenizers.Symbols(source.symbols), "symbols"
    user_code = user_code_of(name, folders)
    with own_code.in_file(user_code):
        key = source.key()
        for what, value in {"key()": key, "label": source.label}.items():
            if not isinstance(value, str):
                raise TypeError(f"{what} is {type(value).__name__}, expected a string")
    parts = [FORMAT, name, key, coding, recipe.request()]
    if source.train_tokens is not None:  # a store of the whole split keeps its folder
        parts.append({"train_tokens": source.train_tokens})
    if user_code:  # it may change under the same name
        parts.append(hashlib.sha256(user_code.read_bytes()).hexdigest())
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    folder = cache / "stores" / re.sub(r"[^\w.-]", "_", f"{name}-{coding}-{digest}")
    splits = _open(folder, source, user_code)
    if splits is None:
        _build(folder, Reader(source, user_code), recipe, cache)
        splits = _open(folder, source, user_code)
    if splits is None:
        raise DiskError(f"the token store {folder} vanished while it was built; run again")
    return splits


def check_lengths(
    splits: Splits, *, train_length: int, eval_length: int, cross_documents: bool
) -> None:
    """DataError unless a training window and the longest evaluation window fit.

    A window needs a token more than its length.
    """
    train, validation = splits.train, splits.validation
    longest = int(train.lengths.max())
    about = f"dataset {splits.label}, tokenizer {splits.tokenizer}"
    if splits.whole_documents and (cross_documents or set(train.lengths) != {train_length + 1}):
        raise DataError(
            f"train_length={train_length}, cross_documents={str(cross_documents).lower()}: "
            f"a training window must be a whole document of {longest} tokens ({about}): give "
            f"train_length={longest - 1} (or dataset.document_length) and cross_documents=false"
        )
    within = (longest, "has documents of at most")
    have, where = (train.n_tokens, "has") if cross_documents else within
    if have < train_length + 1:
        raise DataError(
            f"train_length={train_length} needs {train_length + 1} tokens; the train split {where} "
            f"{have} ({about}): choose a shorter train_length or more text"
        )
    longest = int(validation.lengths.max())
    if longest < eval_length + 1:
        raise DataError(
            f"eval length {eval_length} needs a document of {eval_length + 1} tokens; the longest "
            f"of {validation.n_documents} validation documents has {longest} ({about}): "
            "choose shorter evaluation lengths or longer documents"
        )


def _open(folder: Path, source: Dataset, code: Path | None) -> Splits | None:
    """The splits in `folder`; None unless they are all there. code: as `Splits.user_code`."""
    try:
        described = files.read_sealed(folder / "splits.json")
        if described is None:  # never built, or not to the end
            return None
        tokenizer, notes = described.get("tokenizer"), described.get("notes")
        if not isinstance(tokenizer, str) or not isinstance(notes, list):
            raise DataError(f"{folder / 'splits.json'} is damaged (no tokenizer or no notes)")
        train, validation = (open_store(folder / split) for split in SPLITS)
        if train.vocab_size != validation.vocab_size:
            raise DataError(f"the token stores in {folder} are damaged (two vocabularies)")
    except DataError as error:
        log.warning("%s; rebuilding it", str(error).split(";")[0])
        return None
    floors = None
    if source.symbols is not None and not source.answered:
        floors = Floors(validation, source, code)
    joined = [tokenizer, train.fingerprint, validation.fingerprint]
    return Splits(
        label=source.label,
        train=train,
        validation=validation,
        tokenizer=tokenizer,
        vocab_size=train.vocab_size,
        fingerprint=hashlib.sha256(json.dumps(joined).encode()).hexdigest()[:16],
        notes=tuple(map(str, notes)),
        floors=floors,
        whole_documents=source.whole_documents,
        answers=own_hooks.checked(source.answers, code) if source.answered else None,
        user_code=code,
    )


def _build(folder: Path, reader: Reader, recipe: tokenizers.Recipe, cache: Path) -> None:
    source = reader.source
    log.info("dataset %s: tokenising into %s", source.label, folder)
    coder = recipe.build(reader.training_texts, cache)
    source.left_out.clear()
    held_out: set[bytes] = set()
    with shown.Reading(source) as reading:
        for split in reversed(SPLITS):  # validation first: what it holds is kept out of train
            documents = _encoded(reader, reading, split, held_out, coder)
            first = next(documents, None)
            if first is None:
                raise DataError(reader.nothing(split))
            write_store(
                folder / split,
                itertools.chain([first], documents),
                vocab_size=coder.vocab_size,
                token_bytes=coder.token_bytes,
            )
    # written last: it marks both stores as complete
    files.write_sealed(folder / "splits.json", {"tokenizer": coder.key, "notes": reader.notes()})


def _encoded(
    reader: Reader,
    reading: shown.Reading,
    split: str,
    held_out: set[bytes],
    coder: tokenizers.Tokenizer,
) -> Iterator[limited.Encoded]:
    """The documents of a split as tokens: of train, as many as were asked for."""

    def encode(document: Document) -> limited.Encoded:
        return _with_ids(document, coder)

    source = reader.source
    documents, n_tokens = reading.of(reader.distinct(split, held_out)), source.train_tokens
    if split != "train" or n_tokens is None:
        return map(encode, documents)
    if source.symbols is None:
        return limited.mixed(documents, encode, n_tokens, source.label)
    take = limited.whole if source.whole_documents else limited.first
    return take(map(encode, documents), n_tokens, source.label)


def _with_ids(document: Document, coder: tokenizers.Tokenizer) -> limited.Encoded:
    ids = coder.encode(document.text)
    # file names may hold lone surrogates, tables may not
    name = document.name.encode("utf-8", "backslashreplace").decode()
    if ids.ndim != 1:
        return name, ids  # which write_store refuses
    return name, np.concatenate((np.array([coder.begin], dtype=ids.dtype), ids))
