"""A figure of panels in rows and columns, with its title above: every text has room.

Constrained layout measures what stands around the panels; then the figure gets the size with which
the panels have theirs. A width that is asked for is kept: panels are then as wide as is left.
Without pyplot, which keeps global state. Sizes in inches.
"""

import warnings
from collections.abc import Sequence
from typing import NoReturn

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecBase
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from lengthgen.errors import ConfigError
from lengthgen.reporting.figures import glyphs, layout, measure
from lengthgen.reporting.figures.look import PAGE, Look, inches, points

EDGE = 0.14  # left of the title
PAD = 0.05  # around the panels
HEADING, DETAILS = 11, 8.5  # points
HEADING_LINE, DETAILS_LINE = 0.2, 0.165
LEAST = 0.7  # inches of a panel's width, at a page's size of text


class Sheet(Figure):
    """title: (heading, sentences on what is drawn). They also describe the figure in its files."""

    def __init__(self, title: tuple[str, str], look: Look = PAGE) -> None:
        super().__init__(figsize=(look.width or 8.0, 6.0), facecolor="white")
        FigureCanvasAgg(self)  # which measures
        self.look = look
        self.heading, self.details = title
        self.heights: list[float] = []
        self.plot = 0.0

    def panels(
        self, heights: Sequence[float], columns: int = 1, plot: float = 6.0, gap: float = 0.0
    ) -> list[Axes]:
        """Axes row by row, `heights` and `plot` in inches at a page's size of text.

        gap: between rows, besides what stands there.
        """
        self.heights, self.plot = [inches(height) for height in heights], inches(plot)
        engine = ConstrainedLayoutEngine(w_pad=inches(PAD), h_pad=inches(PAD), hspace=0, wspace=0)
        self.set_layout_engine(engine)
        grid = self.add_gridspec(len(heights), columns, height_ratios=self.heights)
        self._gap = inches(gap)
        return [self.add_subplot(grid[i]) for i in range(len(heights) * columns)]

    def fit(self) -> "Sheet":
        """Give the figure the size that all needs, and fix every panel in its place.

        ConfigError where the width that was asked for leaves the panels no room.
        """
        glyphs.settle(self)
        columns = self._grid().ncols
        width, above = self.get_figwidth(), 0.0
        if self.look.width is None:
            width = columns * (self.plot + inches(1.0)) + self._widest_text()
        height = sum(self.heights) + inches(1.5) * (len(self.heights) + 1)
        for turn in range(4):  # a new width breaks lines anew, and ticks with them
            panel_width, panel_height = self._arrange(width, height, above)
            if turn == 1:
                self._wrap_labels()
            if self.look.width is None:
                width += (self.plot - panel_width) * columns
            before, above = above, self.above(width)
            height += sum(self.heights) - panel_height + above - before
        panel_width, _ = self._arrange(width, height, above)
        if panel_width < inches(LEAST):
            self._refuse()
        self.set_layout_engine("none")
        self.write_title(width, height)
        return self

    def _arrange(self, width: float, height: float, above: float) -> tuple[float, float]:
        """Panels and what is around them in a figure of that size. As `_sizes` returns."""
        engine = self.get_layout_engine()
        assert isinstance(engine, ConstrainedLayoutEngine)
        self.set_size_inches(width, height)
        engine.set(h_pad=inches(PAD) + self._gap / 2, rect=(0, 0, 1, 1 - above / height))
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "constrained_layout not applied")
                engine.execute(self)
        except UserWarning:
            self._refuse()
        return self._sizes()

    def _wrap_labels(self) -> None:
        """Break the labels of axes that are longer than what they stand along has room for."""
        width, height = self.get_size_inches()
        for axes in self.axes:
            box = axes.get_position()
            middle = (box.x0 + box.x1) / 2
            along = 2 * min(middle, 1 - middle) * width - inches(PAD)
            for label, room in ((axes.xaxis.label, along), (axes.yaxis.label, box.height * height)):
                upright = label.get_rotation() % 180 != 0 or label is axes.xaxis.label
                if upright and measure.width(label.get_text(), float(label.get_fontsize())) > room:
                    parts = label.get_text().split("\n")
                    size = float(label.get_fontsize())
                    lines = [line for part in parts for line in measure.balanced(part, room, size)]
                    label.set_text("\n".join(lines))

    def _widest_text(self) -> float:
        """Inches: so much room is enough for what stands beside the panels."""
        texts = [text for text in self.findobj(Text) if isinstance(text, Text) and text.get_text()]
        return sum(sorted(text.get_window_extent().width for text in texts)[-3:]) / self.dpi

    def _refuse(self) -> NoReturn:
        raise ConfigError(
            f"a figure {self.get_figwidth():g} inches wide has no room for its panels beside "
            "their labels; give a larger --width, or shorter names with --labels"
        )

    def _grid(self) -> GridSpecBase:
        place = self.axes[0].get_subplotspec()
        assert place is not None
        return place.get_gridspec()

    def _sizes(self) -> tuple[float, float]:
        """Inches: the width of a panel, and the heights of all rows."""
        width, height = self.get_size_inches()
        grid = self._grid()
        boxes = [axes.get_position() for axes in self.axes[: grid.nrows * grid.ncols]]
        heights = sum(box.height for box in boxes[:: grid.ncols])
        return boxes[0].width * width, heights * height

    @property
    def _heading_size(self) -> float:
        return points(HEADING) * (0.85 if self.look.narrow else 1)

    def _title_lines(self, width: float) -> tuple[list[str], list[str]]:
        room = width - 2 * inches(EDGE)
        heading = measure.wrap(self.heading, room, self._heading_size, "bold")
        details = measure.wrap(self.details, room, points(DETAILS))
        return (
            heading if self.look.title else [],
            details if self.look.title and self.look.about.details else [],
        )

    def above(self, width: float) -> float:
        """Inches that the title takes in a figure of that width."""
        heading, details = self._title_lines(width)
        lines = inches(HEADING_LINE) * len(heading) + inches(DETAILS_LINE) * len(details)
        return inches(0.1) + lines if lines else 0.0

    def write_title(self, width: float, height: float) -> None:
        """The title at the upper left of a figure of that size."""
        heading, details = self._title_lines(width)
        x, y = inches(EDGE) / width, 1 - inches(0.1) / height
        text = self.text(x, y, "\n".join(heading), weight="bold", size=self._heading_size, va="top")
        y -= inches(HEADING_LINE) * len(heading) / height
        text = self.text(x, y, "\n".join(details), size=points(DETAILS), va="top")
        text.set(color=layout.GREY, linespacing=1.35)
        glyphs.settle(self)
