r"""A figure as a PGF picture: `\input` in a LaTeX document draws it in the document's fonts.

Matplotlib's renderer asks LaTeX how wide each text is. This one measures with its own font, so that
no LaTeX is needed, and the file is the same on every machine. Every text is literal: what means
something to LaTeX is escaped.
"""

import io
from typing import Any

from matplotlib.backends.backend_pgf import RendererPgf
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from lengthgen.reporting.text_tables import LATEX

# Letters that fonts of LaTeX lack, beyond those of tables.
SIGNS = LATEX | str.maketrans(
    {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$", "±": r"$\pm$", "²": "$^2$"}
    | {"[": "{[}", "]": "{]}"}
)
HEAD = r"""% \usepackage{pgf} in the preamble; \input{this file} where the picture stands.
\begingroup%
\makeatletter%
\begin{pgfpicture}%
"""
TAIL = r"""\end{pgfpicture}%
\makeatother%
\endgroup%
"""


class Renderer(RendererPgf):
    """Matplotlib's, with literal texts that are measured without LaTeX."""

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float,
        ismath: Any = False, mtext: Any = None,
    ) -> None:  # fmt: skip
        text = s if ismath else s.translate(SIGNS)
        super().draw_text(gc, x, y, text, prop, angle, ismath, mtext)

    def get_text_width_height_descent(
        self, s: str, prop: FontProperties, ismath: Any
    ) -> tuple[float, float, float]:
        w, h, d = text_to_path.get_text_width_height_descent(s, prop, ismath)
        factor = self.dpi / 72
        return w * factor, h * factor, d * factor


def picture(figure: Figure) -> str:
    """The source of a pgfpicture environment of the figure's size."""
    out = io.StringIO()
    out.write(HEAD)
    width, height = figure.get_size_inches()
    corner = rf"\pgfqpoint{{{width:f}in}}{{{height:f}in}}"
    out.write(f"\\pgfpathrectangle{{\\pgfpointorigin}}{{{corner}}}%\n")
    out.write("\\pgfusepath{use as bounding box, clip}%\n")
    figure.draw(Renderer(figure, out))
    out.write(TAIL)
    return out.getvalue()
