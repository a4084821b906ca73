"""A training corpus of fixed size: the first tokens of whole documents in a fixed, mixed order.

`dataset.train_tokens=N` keeps N tokens, begin-of-document tokens included, of every dataset. Text
is taken in the order of a hash of the documents' names, so that a small corpus is no alphabetical
corner of the text, and the last document is cut: the corpus of N tokens is a prefix of every larger
one. Synthetic documents are independent draws and stay in their order. Where windows are whole
documents none is cut: as many as fit.

The validation documents stay as they are. A tokeniser that is trained on text (bpe) is still
trained on the whole training split: corpora of different sizes share their tokens, and their losses
compare.

Shape letters: T tokens of a document.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lengthgen.config.dataclass_from import limit
from lengthgen.data.datasets.base import Document
from lengthgen.errors import DataError

Encoded = tuple[str, np.ndarray]  # name, (T,) token ids


@dataclass
class Every:
    """What every dataset has beside its own options (configs/every_dataset.yaml)."""

    # train on a corpus of so many tokens, whole documents and a cut one, always the same;
    # null: all. The tokenizer still learns from all
    train_tokens: int | None = None

    def __post_init__(self):
        limit(self, "dataset", "> 0", "train_tokens")


def mixed(
    documents: Iterator[Document], encode: Callable[[Document], Encoded], n_tokens: int, label: str
) -> Iterator[Encoded]:
    """The first n_tokens of the documents in the order of their names' hashes.

    The documents are read once; those kept are in memory. DataError if they have fewer tokens.
    """
    kept: list[tuple[int, str, np.ndarray]] = []  # a heap: the last of the order comes first
    total = 0
    for document in documents:
        place = -_place(document.name)
        if total >= n_tokens and place < kept[0][0]:
            continue  # a document behind enough others is not even encoded
        name, ids = encode(document)
        heapq.heappush(kept, (place, name, ids))
        total += len(ids)
        while total - len(kept[0][2]) >= n_tokens:
            total -= len(heapq.heappop(kept)[2])
    _enough(total, n_tokens, label)
    in_order = ((name, ids) for _, name, ids in sorted(kept, key=lambda entry: -entry[0]))
    yield from _cut(in_order, n_tokens)


def first(documents: Iterator[Encoded], n_tokens: int, label: str) -> Iterator[Encoded]:
    """The first n_tokens of the documents in the order they come. DataError if they have fewer."""
    total = 0
    for name, ids in documents:
        ids = ids[: n_tokens - total]
        total += len(ids)
        yield name, ids
        if total == n_tokens:
            return
    _enough(total, n_tokens, label)


def whole(documents: Iterator[Encoded], n_tokens: int, label: str) -> Iterator[Encoded]:
    """As `first`, but a document that would have to be cut is left out.

    DataError if that is the first one.
    """
    total = 0
    for name, ids in documents:
        if total + len(ids) > n_tokens:
            if not total:
                raise DataError(
                    f"dataset.train_tokens={n_tokens}: the first document of {label} has "
                    f"{len(ids)} tokens and its documents stay whole; give at least so many"
                )
            return
        total += len(ids)
        yield name, ids
    _enough(total, n_tokens, label)


def _cut(documents: Iterator[Encoded], n_tokens: int) -> Iterator[Encoded]:
    left = n_tokens
    for name, ids in documents:
        yield name, ids[:left]
        left -= len(ids[:left])


def _enough(total: int, n_tokens: int, label: str) -> None:
    if 0 < total < n_tokens:  # no document at all is reported by splits.py
        raise DataError(
            f"dataset.train_tokens={n_tokens}: the train split of {label} has {total} tokens; "
            "give at most so many, or null for all"
        )


def _place(name: str) -> int:
    """A document's place in the order; not the hash that chose its split."""
    digest = hashlib.sha256(b"train_tokens " + name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")
