"""How wide texts are drawn, and where to break them. Inches and points; measured, not guessed."""

from functools import cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from lengthgen.reporting.figures import glyphs

SIGNS = "_+,/-"  # where a long word is broken if it can be
SLACK = 1.03  # renderers round letters to their pixels


def width(text: str, size: float, weight: str = "normal") -> float:
    """Inches of the widest line of a text of `size` points, as `glyphs.settle` has it drawn."""
    lines = glyphs.written(text).split("\n")
    return max(_width(line, weight) for line in lines) * size


@cache
def _width(line: str, weight: str) -> float:
    """Inches a point of size."""
    font = FontProperties(family=glyphs.families(line), weight=weight, size=72)
    return SLACK * text_to_path.get_text_width_height_descent(line, font, False)[0] / 72 / 72


def wrap(text: str, inches: float, size: float, weight: str = "normal") -> list[str]:
    """The lines of a text, none wider than `inches`: between words, a longer word anywhere."""
    lines: list[str] = []
    line = ""
    for word in glyphs.written(text).split():
        longer = f"{line} {word}".strip()
        if width(longer, size, weight) <= inches:
            line = longer
            continue
        if line:
            lines.append(line)
        while width(word, size, weight) > inches and len(word) > 1:
            n = _fitting(word, inches, size, weight)
            lines.append(word[:n])
            word = word[n:]
        line = word
    return [*lines, line] if line else lines


def balanced(text: str, inches: float, size: float) -> list[str]:
    """As few lines as `wrap` makes, of about the same width."""
    lines = wrap(text, inches, size)
    for share in (0.5, 0.6, 0.7, 0.8, 0.9):
        narrower = wrap(text, share * inches, size)
        if len(narrower) == len(lines):
            return narrower
    return lines


def _fitting(word: str, inches: float, size: float, weight: str) -> int:
    """How many characters of a word fit; at least one."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        if width(word[:middle], size, weight) <= inches:
            low = middle
        else:
            high = middle - 1
    after_sign = max((word.rfind(sign, 0, low) + 1 for sign in SIGNS), default=0)
    return after_sign or low
