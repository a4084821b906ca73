"""Figures as files: in a fixed style, and byte-stable: regenerating leaves an empty diff."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lengthgen import files
from lengthgen.reporting.figures import glyphs, layout

DPI = 130


@contextmanager
def fixed_style() -> Iterator[None]:
    """matplotlib's defaults and ours; the user's settings come back afterwards."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # of a figure that is measured before `save` gives its texts other fonts
        warnings.filterwarnings("ignore", r"(?s)(Glyph \d+ .*missing|Matplotlib currently)")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(layout.STYLE)
        yield


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.svg, without a date or a version in them. Returns the files."""
    glyphs.settle(figure)
    png, svg = io.BytesIO(), io.BytesIO()
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    figure.set_dpi(72)
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None, "Creator": None})
    written = []
    for suffix, content in ((".png", png), (".svg", svg)):
        path = stem.with_name(stem.name + suffix)
        files.write_bytes(path, content.getvalue())
        written.append(path)
    return written
