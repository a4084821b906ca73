"""Prose on every machine, without a download: the topics of Python's reference manual.

They are what `help()` shows, one document a topic: as much text as unicode_records, but not
periodic. The text, and so the fingerprint, depends on the version of Python.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from lengthgen.data.datasets.base import Dataset, Document, check_fraction, options_key, split_of
from lengthgen.errors import DataError


@dataclass
class Config:
    label: str = "python_manual"  # name in tables and figures
    validation_fraction: float = 0.2  # share of the topics, chosen by a hash of their name

    def __post_init__(self):
        check_fraction(self.validation_fraction)


class PythonManual(Dataset):
    Config = Config

    def documents(self, split: str) -> Iterator[Document]:
        for name, text in _topics():
            if split_of(name, self.config.validation_fraction) == split:
                yield Document(name, text.encode())

    def key(self) -> str:
        text = "".join(text for _, text in _topics())
        return options_key(self.config) + hashlib.sha256(text.encode()).hexdigest()


def _topics() -> list[tuple[str, str]]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            "this Python has no pydoc_data.topics, a part of the library: use dataset=files"
        ) from None
    return sorted(topics.items())
