"""Real prose on every machine, without a download: the topics of Python's reference manual that `help()` shows, one document a topic.

Beside unicode_records a text of the same size whose distances are not periodic. Another version of Python has another text; the
fingerprint tells them apart.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.base import Dataset, Document, options_key, split_of
from lengthgen.errors import DataError


@dataclass
class Config:
    label: str = "python_manual"  # name in tables and figures
    validation_fraction: float = 0.2  # share of the topics, chosen by a hash of their name

    def __post_init__(self):
        check(
            0 < self.validation_fraction < 1,
            f"dataset.validation_fraction={self.validation_fraction}: expected between 0 and 1",
        )


class PythonManual(Dataset):
    Config = Config

    def documents(self, split: str) -> Iterator[Document]:
        for name, text in sorted(_topics().items()):
            if split_of(name, self.config.validation_fraction) == split:
                yield Document(name, text.encode())

    def key(self) -> str:
        return (
            options_key(self.config)
            + hashlib.sha256(
                "".join(text for _, text in sorted(_topics().items())).encode()
            ).hexdigest()
        )


def _topics() -> dict[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            "this Python has no pydoc_data.topics; expected the standard library whole: use dataset=files"
        ) from None
    return topics
