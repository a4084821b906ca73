"""Figures as files: in a fixed style, and byte-stable: regenerating leaves an empty diff."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lengthgen import files
from lengthgen.reporting.figures import glyphs, grey, layout, pgf
from lengthgen.reporting.figures.look import BASE, PAGE, Look
from lengthgen.reporting.figures.sheet import Sheet


@contextmanager
def fixed_style(look: Look = PAGE) -> Iterator[None]:
    """matplotlib's defaults and ours; the user's settings come back afterwards."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # of a figure that is measured before `save` gives its texts other fonts
        warnings.filterwarnings("ignore", r"(?s)(Glyph \d+ .*missing|Matplotlib currently)")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(layout.STYLE)
        factor = look.about.size / BASE
        sizes: dict[Any, Any] = {key: factor * size for key, size in layout.SIZES.items()}
        matplotlib.rcParams.update(sizes)
        yield


def save(figure: Figure, stem: Path, look: Look = PAGE) -> list[Path]:
    """Write `stem` in the formats asked for, without a date or a version. Returns the files."""
    glyphs.settle(figure)
    if look.grey:
        grey.turn(figure)
    written = []
    for format in look.formats:
        path = stem.with_name(f"{stem.name}.{format}")
        files.write_bytes(path, WRITERS[format](figure, look))
        written.append(path)
    return written


def _said(figure: Figure) -> tuple[str, str]:
    """The heading and the sentences of a figure, as its files hold them."""
    return (figure.heading, figure.details) if isinstance(figure, Sheet) else ("", "")


def _png(figure: Figure, look: Look) -> bytes:
    out = io.BytesIO()
    figure.set_dpi(look.about.dpi)
    FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})
    return out.getvalue()


def _svg(figure: Figure, look: Look) -> bytes:
    """With <title> and <desc>, which a screen reader reads instead of the picture."""
    out = io.BytesIO()
    figure.set_dpi(72)
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    text, (heading, details) = out.getvalue().decode("utf-8"), _said(figure)
    about = "".join(
        f" <{tag}>{escape(glyphs.written(words))}</{tag}>\n"
        for tag, words in (("title", heading), ("desc", details))
        if words
    )
    begin = text.index(">", text.index("<svg ")) + 2
    return (text[:begin] + about + text[begin:]).encode("utf-8")


def _pdf(figure: Figure, look: Look) -> bytes:
    out = io.BytesIO()
    figure.set_dpi(72)
    heading, details = _said(figure)
    about = {"CreationDate": None, "Creator": None, "Producer": None}
    words = {"Title": heading, "Subject": details}
    metadata = about | {key: glyphs.written(text) for key, text in words.items() if text}
    FigureCanvasPdf(figure).print_pdf(out, metadata=metadata)
    return out.getvalue()


def _pgf(figure: Figure, look: Look) -> bytes:
    figure.set_dpi(72)
    return pgf.picture(figure).encode("utf-8")


WRITERS: dict[str, Callable[[Figure, Look], bytes]] = {
    "png": _png, "svg": _svg, "pdf": _pdf, "pgf": _pgf,
}  # fmt: skip
