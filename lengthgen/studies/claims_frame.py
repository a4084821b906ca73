"""Where the parts of a row are in the figure of claims: its text, its scale, its words. Inches."""

from collections.abc import Sequence
from dataclasses import dataclass

from lengthgen.reporting.figures import measure
from lengthgen.reporting.figures.look import Look, inches, points
from lengthgen.studies import claim_rows
from lengthgen.studies.claim_rows import Row

LINE = 0.145  # height of a line of text
WIDTH, LEFT, TEXT, PLOT = 9.1, 0.14, 3.65, 2.75  # of a page's figure and its columns
SCALE = 0.5  # for the number at the end of a row's scale


@dataclass(frozen=True)
class Frame:
    """narrow: a claim stands above its scale and words, not left of them. side: the least value."""

    width: float
    narrow: bool
    left: float
    text: float  # width of a claim's lines
    begin: float  # where scales begin
    plot: float  # width of a scale
    side: float

    @classmethod
    def of(cls, look: Look, claims: Sequence[Row]) -> "Frame":
        side = -1.0 if any(claim_rows.reaches_below(row) for row in claims) else -0.12
        left = inches(LEFT)
        if look.narrow:
            assert look.width is not None
            text = look.width - 2 * left
            return cls(look.width, True, left, text, left, 0.36 * look.width, side)
        width = look.width or inches(WIDTH)
        share = width / WIDTH
        return cls(
            width, False, left, share * TEXT - inches(0.1), left + share * TEXT, share * PLOT, side
        )

    @property
    def beside(self) -> float:
        """Where the words of a row begin."""
        return self.begin + self.plot + inches(SCALE)

    def x(self, value: float) -> float:
        """Of a value in [side, 1]."""
        inside = max(self.side, min(1.0, value))
        return self.begin + self.plot * (inside - self.side) / (1.0 - self.side)

    def lines(self, claim: Row) -> tuple[list[str], list[str]]:
        """The claim, and the reason of its verdict, as lines."""
        reason = claim.get("reason") or ""
        return (
            measure.wrap(claim["claim"], self.text, points(8)),
            measure.wrap(reason, self.text, points(7.5)),
        )

    def words(self, claim: Row) -> list[str]:
        """What was found and predicted, as lines."""
        room = self.width - self.beside - self.left / 2
        lines = claim_rows.words(claim)
        return [part for line in lines for part in measure.wrap(line, room, points(7.5))]

    def text_height(self, claim: Row) -> float:
        lines, reason = self.lines(claim)
        return inches(LINE) * (len(lines) + len(reason)) + inches(0.06)

    def height(self, claim: Row) -> float:
        """Of a row."""
        beside = inches(LINE) * (len(self.words(claim)) + 1)
        text = self.text_height(claim)
        if self.narrow:
            return text + beside + inches(0.1)
        return max(text, beside) + inches(0.06)
