"""How figures are asked for: their width, style, colours, names, and the files they are written as.

page: as wide as it needs, with sentences on what is drawn, and names as commands and tables have
them. paper and slide: names as papers write them; what is drawn is said by the caption or speaker.
Sizes in the code are those of a page's 9 points; `points` and `inches` give them in a style's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import matplotlib

BASE = 9.0  # points that sizes in the code are given for
SMALLEST = 6.0  # points


@dataclass(frozen=True)
class Style:
    """What a figure is for."""

    size: float  # of its text, points
    width: float | None  # inches, unless asked for otherwise; None: as wide as it needs
    details: bool  # sentences under the title
    titles: bool  # schemes by the names that papers give them
    dpi: int  # of a PNG


STYLES = {
    "page": Style(BASE, None, details=True, titles=False, dpi=130),
    "paper": Style(8.0, 3.35, details=False, titles=True, dpi=300),
    "slide": Style(15.0, 10.0, details=False, titles=True, dpi=150),
}
FORMATS = ("png", "svg", "pdf", "pgf")
METRICS = ("perplexity", "loss", "bits_per_byte")


@dataclass(frozen=True)
class Look:
    """One way to draw figures. names: scheme or retrofit -> how it is called in them."""

    style: str = "page"
    given_width: float | None = None  # inches of the whole figure
    grey: bool = False
    title: bool = True
    metric: str = "perplexity"  # of the curves by evaluation length
    formats: tuple[str, ...] = ("png", "svg")
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def about(self) -> Style:
        return STYLES[self.style]

    @property
    def width(self) -> float | None:
        """Of the whole figure, inches; None: as wide as it needs."""
        return self.given_width or self.about.width

    @property
    def narrow(self) -> bool:
        """Whether names have to stand below a panel, and panels below one another."""
        return self.width is not None and self.width < inches(6.0)

    def name(self, label: str) -> str:
        """`rope(base=500000)+yarn` as it is called: by its own name, or by those of its parts."""
        if label in self.names:
            return self.names[label]
        parts = [self._part(part) for part in label.split("+")]
        return (" + " if parts != label.split("+") else "+").join(parts)

    def _part(self, part: str) -> str:
        if part in self.names:
            return self.names[part]
        base, bracket, options = part.partition("(")
        return f"{self.names[base]} ({options}" if bracket and base in self.names else part


PAGE = Look()


def scale() -> float:
    """How much larger than in the code things are drawn in the style that is set."""
    return matplotlib.rcParams["font.size"] / BASE


def points(size: float) -> float:
    """A size of text in the style that is set, never too small to be read."""
    return max(SMALLEST, size * scale())


def inches(length: float) -> float:
    """A length that goes with the text."""
    return length * scale()
