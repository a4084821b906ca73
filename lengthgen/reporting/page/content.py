"""What a page says, without HTML: sections of blocks. html.py writes them.

All text here is plain text: whatever a label holds, the page shows it letter by letter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mark:
    """A claim in a picture of one line: what was found against what was predicted.

    predict: `above 0.3`, `below 0`, `within 0.05`.
    """

    value: float
    low: float
    high: float
    predict: str


@dataclass(frozen=True)
class Cell:
    """Of a table: text, a smaller note below it, and a word that is shown as one."""

    text: str = ""
    note: str = ""
    word: str = ""
    anchor: str = ""  # of the place in the page that the text links to
    code: bool = False
    mark: Mark | None = None


@dataclass(frozen=True)
class Text:
    text: str
    lead: bool = False


@dataclass(frozen=True)
class Facts:
    """Names and what they are, in a row. anchors: name -> the place in the page it links to."""

    items: Sequence[tuple[str, str]]
    anchors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """A word, what it means, and the schemes that it is said of: (scheme, its numbers)."""

    word: str
    meaning: str
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Cards:
    cards: Sequence[Card]


@dataclass(frozen=True)
class Table:
    """The first column names the rows. numeric: the columns that are set to the right."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    stacked: bool = False  # on a phone every row is a card; for rows of sentences


@dataclass(frozen=True)
class Picture:
    """An SVG for readers without scripts. text: what it shows."""

    text: str
    svg: str


@dataclass(frozen=True)
class Chart:
    """Curves by evaluation length. data: chart_data.py; pictures: shown without scripts."""

    title: str
    data: Mapping[str, Any]
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Commands:
    """Command lines, each with a button that copies it."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Fold:
    """Shown on demand. word: said beside the title."""

    title: str
    blocks: Sequence["Block"]
    anchor: str = ""
    word: str = ""
    note: str = ""


@dataclass(frozen=True)
class Part:
    """A part of a section, with a title of its own."""

    anchor: str
    title: str
    blocks: Sequence["Block"]


Block = Text | Facts | Cards | Table | Chart | Commands | Fold | Part


@dataclass(frozen=True)
class Section:
    anchor: str
    title: str
    blocks: Sequence[Block]
    short: str = ""  # its name in the list of sections

    def __bool__(self) -> bool:
        return bool(self.blocks)


@dataclass(frozen=True)
class Page:
    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    made_by: str
    faults: Sequence[str] = field(default=())
