"""The page's own files: its template, styles and scripts, and the plotting library.

The library is uPlot (uplot/, MIT, unchanged from its npm package). Of the three that were compared,
all kept up and free of requests, Vega-Lite (with Vega some 800 KB) and Plotly basic (1 MB) would be
most of the page. uPlot is 50 KB, draws a curve in a few milliseconds on a phone, and has what is
asked for: logarithmic axes, bands for intervals, series that are switched, zoom by dragging, and a
cursor whose values our list of schemes shows. It has no tables, no keyboard and no dark mode: those
are curves.js and page.css.
"""

import base64
import hashlib
from importlib.resources import files as resources

from lengthgen.reporting.page.markup import Markup

ROOT = resources("lengthgen.reporting.page")
LIBRARY = "vendor/uplot/uPlot.iife.min.js"
LICENCE = "vendor/uplot/LICENSE"
STYLES = ("vendor/uplot/uPlot.min.css", "page.css", "curves.css")
SCRIPTS = (LIBRARY, "writing.js", "axes.js", "curves.js", "page.js")


def read(name: str) -> str:
    """A file of this room, such as `page.html`."""
    return ROOT.joinpath(name).read_text(encoding="utf-8")


def styles() -> Markup:
    return Markup("\n".join(read(name) for name in STYLES))


def scripts() -> list[Markup]:
    """Each is one script element's content; the library's begins with its licence."""
    library, *others = map(read, SCRIPTS)
    return [Markup(f"/*\n{read(LICENCE)}*/\n{library}"), *map(Markup, others)]


def allowed(script: str) -> str:
    """The hash by which a Content-Security-Policy allows an inline script."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def data_uri(svg: str) -> str:
    """An SVG as an image's source: no script of it runs, and none of its names clash."""
    squeezed = " ".join(svg.split())
    encoded = base64.b64encode(squeezed.encode("utf-8")).decode("ascii")
    return f"data:image/svg+xml;base64,{encoded}"
