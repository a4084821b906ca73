"""Texts of figures as they are written: a font that has their characters, or the characters' names.

DejaVu Sans, which comes with matplotlib, has no ideographs and few emoji: those are drawn in a font
of the machine that has them, and named (`[U+4E2D]`) where none has. Numbers have minus signs.
"""

import itertools
import re
import unicodedata
from functools import cache

from matplotlib import font_manager
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import Formatter, LogFormatter, NullFormatter

MAIN = "DejaVu Sans"
EVERYTHING = "LastResort"  # a font of matplotlib that has a box for every character
# A hyphen before a number, unless it joins it to what is before: 1-2, seed-3, (a)-1.
_MINUS = re.compile(r"(?<![\w.)\]}−-])-(?=\.?\d)")
# What rounding leaves of a small number has no sign: -0.000, +0.00, -0.
_SIGNED_ZERO = re.compile(r"(?<![\w.)\]}])[+−](?=0(?:\.0+)?(?![\w.]|\.\d))")


def numbers(text: str) -> str:
    """The text with U+2212 before negative numbers, and without the sign of a rounded zero."""
    return _SIGNED_ZERO.sub("", _MINUS.sub("−", text))


def written(text: str) -> str:
    """The text with characters that no font has as [U+4E2D U+6587]; control characters as blanks.

    Marks that only join or vary emoji are left out with them.
    """
    if text.isascii() and text.isprintable():
        return text
    drawn = [_drawn(character) for character in text]
    runs = itertools.groupby(filter(None, drawn), lambda c: c.startswith("U+"))
    return "".join(f"[{' '.join(run)}]" if named else "".join(run) for named, run in runs)


def families(text: str) -> list[str]:
    """The fonts that a text of drawn characters needs, the main one first."""
    others = {_font_of(c) for c in text if not _has_main(c)} - {None}
    return [MAIN, *sorted(filter(None, others))]


class Written(Formatter):
    """Tick labels of another formatter, their texts as this module writes them."""

    def __init__(self, inner: Formatter) -> None:
        self.inner = inner

    def set_axis(self, axis: Axis) -> None:  # type: ignore[override]
        super().set_axis(axis)
        self.inner.set_axis(axis)

    def format_ticks(self, values: list[float]) -> list[str]:
        return [numbers(written(text)) for text in self.inner.format_ticks(values)]

    def __call__(self, x: float, pos: int | None = None) -> str:
        return numbers(written(self.inner(x, pos)))

    def get_offset(self) -> str:
        return self.inner.get_offset()


def settle(figure: Figure) -> None:
    """Let every text of the figure be drawn literally, in fonts that have its characters.

    Numbers at logarithmic axes are mathematics of matplotlib's own, and stay so.
    """
    of_axes = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, LogFormatter):
                of_axes |= {id(label) for label in axis.get_ticklabels(which="both")}
            elif not isinstance(formatter, Written | NullFormatter):
                _let_write(axis, formatter)
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(id(text) in of_axes)
        if id(text) in of_axes:
            continue
        drawn = numbers(written(text.get_text()))
        if drawn != text.get_text():
            text.set_text(drawn)
        if not drawn.isascii() and len(families(drawn)) > 1:
            text.set_fontfamily(families(drawn))


def _let_write(axis: Axis, formatter: Formatter) -> None:
    """The labels of an axis as they are, but for their letters; its locator stays."""
    axis.set_major_formatter(Written(formatter))
    labels = axis.get_ticklabels(which="both")
    needed = families("".join(label.get_text() for label in labels))
    if len(needed) > 1:
        for label in labels:
            label.set_fontfamily(needed)


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
