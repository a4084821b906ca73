"""Progress of preparing a dataset: learning a tokeniser, and tokenising document by document."""

from collections.abc import Iterator
from typing import Self

from lengthgen.data.datasets.base import Dataset, Document
from lengthgen.terminal.progress import Progress

EVERY_SECONDS = 10.0  # between two lines, where there is no bar


class Reading:
    """Of all documents of both splits, as they are tokenised: in bytes of text, or in symbols.

    It begins with the first document: before that a library may show the progress of a download.
    """

    def __init__(self, source: Dataset):
        self._source = source
        self._progress: Progress | None = None
        self._n_documents = self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.close()

    def of(self, documents: Iterator[Document]) -> Iterator[Document]:
        """The documents of a split; each counts when the next one is wanted."""
        for document in documents:
            progress = self._progress = self._progress or self._begun()
            yield document
            self._n_documents, self._done = self._n_documents + 1, self._done + len(document.text)
            progress.advance(self._done, f"documents: {self._n_documents:,}")

    def _begun(self) -> Progress:
        text = self._source.symbols is None
        return Progress(
            "tokenising" if text else "drawing",
            self._source.n_bytes if text else None,
            every_seconds=EVERY_SECONDS,
            unit="B" if text else "symbol",
            last_line=False,
        )


def learning(n_bytes: int) -> Progress:
    """Of a tokeniser that learns from so many bytes of text."""
    return Progress(
        "learning a tokenizer", n_bytes, every_seconds=EVERY_SECONDS, unit="B", last_line=False
    )
