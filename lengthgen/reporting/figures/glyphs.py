"""Names in figures as they are written: a font that has their characters, or the characters' names.

DejaVu Sans, which comes with matplotlib, has no ideographs and few emoji: those are drawn in a font
of the machine that has them, and named (`[U+4E2D]`) where none has.
"""

import itertools
import math
import unicodedata
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

MAIN = "DejaVu Sans"
EVERYTHING = "LastResort"  # a font of matplotlib that has a box for every character


def written(text: str) -> str:
    """The text with characters that no font has as [U+4E2D U+6587]; control characters as blanks.

    Marks that only join or vary emoji are left out with them.
    """
    if text.isascii() and text.isprintable():
        return text
    drawn = [_drawn(character) for character in text]
    runs = itertools.groupby(filter(None, drawn), lambda c: c.startswith("U+"))
    return "".join(f"[{' '.join(run)}]" if named else "".join(run) for named, run in runs)


def width(text: str) -> int:
    """About how many letters wide it is drawn: ideographs, emoji and their names take more."""
    if text.isascii():
        return len(text)
    shown = written(text)
    capitals = 1.45 if shown != text else 1.0
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in shown)
    return math.ceil(capitals * len(shown) + wide)


def settle(figure: Figure) -> None:
    """Let every text of the figure be drawn literally, in fonts that have its characters.

    Numbers at logarithmic axes are mathematics of matplotlib's own, and stay so.
    """
    of_axes = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        if isinstance(axis.get_major_formatter(), LogFormatter)
        for label in axis.get_ticklabels(which="both")
    }
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(id(text) in of_axes)
        if text.get_text().isascii():
            continue
        text.set_text(written(text.get_text()))
        others = {_font_of(c) for c in text.get_text() if not _has_main(c)} - {None}
        if others:
            text.set_fontfamily([MAIN, *sorted(filter(None, others))])


@cache
def _drawn(character: str) -> str:
    """The character, a blank, "", or its name U+... ."""
    category = unicodedata.category(character)
    if character == "\n" or (category != "Cc" and _has_main(character)):
        return character
    if category == "Cc":
        return " "
    if _font_of(character):
        return character
    if category in ("Cf", "Mn"):  # joiners and variation selectors
        return ""
    return f"U+{ord(character):04X}"


@cache
def _has_main(character: str) -> bool:
    return character == "\n" or ord(character) in _characters(font_manager.findfont(MAIN))


@cache
def _font_of(character: str) -> str | None:
    """The family of the machine's first font, by name, that draws the character."""
    fonts = {(font.name, font.fname) for font in font_manager.fontManager.ttflist}
    for family, file in sorted(fonts):
        if EVERYTHING not in file and ord(character) in _characters(file):
            return family
    return None


@cache
def _characters(file: str) -> frozenset[int]:
    """Code points whose outlines a font has; none where matplotlib cannot draw it (bitmaps)."""
    try:
        font = FT2Font(file)
        characters = frozenset(font.get_charmap())
        font.set_size(10, 72)
        if characters:
            font.load_char(max(characters))
        return characters
    except Exception:  # FreeType's own kinds
        return frozenset()
