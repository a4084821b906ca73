"""Records of fixed width: Python's Unicode character database, one character a line of 16 bytes.

Line: code point (5 hexadecimal digits), general category, bidirectional class (3), combining class
(3), newline; e.g. `00041 Lu L     0`. A document is a run of consecutive characters; those whose
names count up (ideographs, Hangul syllables, Tangut) are left out. A field mostly repeats the line
before, 16 bytes back: a periodic pattern of distances. The version of Unicode, and so the
fingerprint, depends on that of Python.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from lengthgen.config.dataclass_from import limit
from lengthgen.data.datasets.base import Dataset, Document, check_fraction, options_key, split_of

# How the names of characters begin that only count up.
COUNTED = ("CJK ", "HANGUL SYLLABLE", "TANGUT ", "NUSHU CHARACTER", "KHITAN SMALL SCRIPT")


@dataclass
class Config:
    label: str = "unicode_records"  # name in tables and figures
    lines: int = 512  # characters in a document, 16 bytes each
    # share of the documents, chosen by a hash of their first character
    validation_fraction: float = 0.2

    def __post_init__(self):
        limit(self, "dataset", "> 0", "lines")
        check_fraction(self.validation_fraction)


class UnicodeRecords(Dataset):
    Config = Config

    def documents(self, split: str) -> Iterator[Document]:
        characters = [c for c in map(chr, range(0x110000)) if _listed(c)]
        lines = self.config.lines
        for first in range(0, len(characters), lines):
            name = f"U+{ord(characters[first]):05X}"
            if split_of(name, self.config.validation_fraction) == split:
                text = "".join(map(record, characters[first : first + lines]))
                yield Document(name, text.encode())

    def key(self) -> str:
        return options_key(self.config) + unicodedata.unidata_version


def record(character: str) -> str:
    """The line of one character, 16 bytes."""
    code, category = ord(character), unicodedata.category(character)
    direction, combining = unicodedata.bidirectional(character), unicodedata.combining(character)
    return f"{code:05X} {category} {direction:<3.3}{combining:>3}\n"


def _listed(character: str) -> bool:
    name = unicodedata.name(character, "")
    return bool(name) and not name.startswith(COUNTED)
