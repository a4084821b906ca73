"""The documents of a dataset as they are tokenised: checked, distinct, and a single one divided.

One document alone is divided by position: its end is the validation text, without an overlap.
"""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lengthgen.config import own_code
from lengthgen.data.datasets.base import SPLITS, Dataset, Document, place_of
from lengthgen.errors import DataError


@dataclass
class Reader:
    """Reads a dataset. What it leaves out is counted by the dataset."""

    source: Dataset
    code: Path | None = None  # the dataset's file, where it is the user's own
    parts: dict[str, Document] = field(default_factory=dict)  # of a document divided by position

    def __post_init__(self) -> None:
        if self.source.symbols is None and self.source.by_hash:
            self.parts = self._divided()
        self.source.left_out.clear()

    def documents(self, split: str) -> Iterator[Document]:
        """All documents of a split."""
        if self.parts:
            yield self.parts[split]
            return
        with own_code.in_file(self.code, DataError):
            for document in self.source.documents(split):
                if not isinstance(document, Document) or not isinstance(document.name, str):
                    raise DataError(
                        f"dataset {self.source.label}: documents() gave {type(document).__name__}; "
                        "expected Document(name, text) with a name of letters"
                    )
                yield document

    def training_texts(self) -> Iterator[bytes]:
        """What a tokeniser is trained on."""
        return map(text_of, self.documents("train"))

    def distinct(self, split: str, held_out: set[bytes]) -> Iterator[Document]:
        """Documents with text, without those of train whose text is in validation too.

        held_out: digests of the validation documents, read before those of train.
        """
        if self.source.symbols is not None:
            # drawn independently: to leave out equal ones would change their distribution
            yield from self.documents(split)
            return
        for document in self.documents(split):
            text = text_of(document)
            if blank(text):
                self.source.left_out["document without text"] += 1
                continue
            digest = hashlib.sha256(text).digest()[:16]
            if split == "validation":
                held_out.add(digest)
            elif digest in held_out:
                self.source.left_out["train document that is also in validation"] += 1
                continue
            yield document

    def notes(self) -> list[str]:
        """How the documents were divided, and what was left out, with counts."""
        counts = sorted(self.source.left_out.items())
        remarks = sorted(self.source.remarks)
        if self.parts:
            share = f"{100 * _fraction(self.source):g} %"
            if hasattr(self.source.config, "validation_fraction"):
                share += " (dataset.validation_fraction)"
            remarks.append(f"one document alone: its last {share} are the validation text")
        return [*remarks, *(f"{count} left out: {reason}" for reason, count in counts)]

    def nothing(self, split: str) -> str:
        """Why a split has no document, and the key that mends it."""
        before = self.source.left_out.copy()
        self.source.left_out.clear()  # and counted again, over both splits
        read = {name: list(self._named(name)) for name in SPLITS}
        names = {split: [name for name, with_text in read[split] if with_text] for split in SPLITS}
        if empty := sum(not with_text for split in SPLITS for _, with_text in read[split]):
            self.source.left_out["document without text"] += empty
        self.source.left_out |= before
        notes = "".join(f" ({note})" for note in self.notes())
        train, validation = (len(names[name]) for name in SPLITS)
        return (
            f"dataset {self.source.label}: nothing for the {split} split{notes}; {train} train and "
            f"{validation} validation documents with text, expected at least one in each: "
            f"{self._advice(split, names['train'] + names['validation'])}"
        )

    def _advice(self, split: str, names: list[str]) -> str:
        config = self.source.config
        if len(names) > len(set(names)) and hasattr(config, "id_key"):
            return (
                f"{len(names)} documents share {len(set(names))} names ({names[0]!r}); name a "
                f"column of unique ones instead of dataset.id_key={config.id_key}, or set it null"
            )
        places = sorted(place_of(name) / 2**64 for name in names)
        if self.source.by_hash and len(names) > 1 and hasattr(config, "validation_fraction"):
            near = places[:2] if split == "validation" else places[-2:]
            return f"set dataset.validation_fraction={sum(near) / 2:.4g}, or give more documents"
        if not self.source.by_hash and hasattr(config, "split_key"):
            return "name documents of both, or set dataset.split_key=null to divide by a hash"
        place = f" (dataset.path={config.path})" if hasattr(config, "path") else ""
        return f"give more documents{place} or divide them otherwise"

    def _named(self, split: str) -> Iterator[tuple[str, bool]]:
        """The name of every document, and whether it has text."""
        for document in self.documents(split):
            yield document.name, self.source.symbols is not None or not blank(text_of(document))

    def _divided(self) -> dict[str, Document]:
        """The two parts of the document if it is the only one; else nothing."""
        first = {split: self._with_text(split, 1) for split in SPLITS}
        if all(first.values()) or not self.source.by_hash:
            return {}
        split = "train" if first["train"] else "validation"
        found = self._with_text(split, 2)
        if len(found) != 1:
            return {}
        text, name = text_of(found[0]), found[0].name
        cut = position(text, 1 - _fraction(self.source))
        if blank(text[:cut]) or blank(text[cut:]):
            return {}
        parts = {"train": (0, cut), "validation": (cut, len(text))}
        return {
            split: Document(f"{name}:{first}-{last}", text[first:last])
            for split, (first, last) in parts.items()
        }

    def _with_text(self, split: str, count: int) -> list[Document]:
        every = (document for document in self.documents(split) if not blank(text_of(document)))
        return list(itertools.islice(every, count))


def text_of(document: Document) -> bytes:
    if isinstance(document.text, bytes):
        return document.text
    kind = type(document.text).__name__
    raise DataError(f"document {document.name!r} is {kind}; expected bytes: text.encode()")


def blank(text: bytes) -> bool:
    """Whether there is nothing but white space, told without a copy."""
    return not text or text.isspace()


def position(text: bytes, share: float) -> int:
    """Where to cut UTF-8 text after a share of it: at a line's end, or else between characters."""
    cut = int(len(text) * share)
    line = text.find(b"\n", cut, cut + (len(text) - cut) // 2) + 1
    if line:
        return line
    while cut < len(text) and text[cut] & 0xC0 == 0x80:  # inside a character
        cut += 1
    return cut


def _fraction(source: Dataset) -> float:
    return getattr(source.config, "validation_fraction", 0.1)
