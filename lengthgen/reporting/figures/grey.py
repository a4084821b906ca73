"""A figure without colours: each becomes the grey of its luminance, dark enough on white paper.

What a figure says by a colour, it says by a marker, dashes or a word as well.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

LIGHTEST = 0.55  # of what had a colour; greys, as of bands, stay what they are
PALE = 0.8  # an area that is lighter is a background, and stays as light
WEIGHTS = (0.2126, 0.7152, 0.0722)  # of linear red, green and blue: Rec. 709
PROPERTIES = (
    "color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor",
)  # fmt: skip


def turn(figure: Figure) -> None:
    """Every artist of the figure, in place."""
    for artist in figure.findobj(Artist):
        for name in _of(artist):
            get, put = getattr(artist, f"get_{name}"), getattr(artist, f"set_{name}")
            colour = get()
            if isinstance(colour, str) and colour in ("none", "auto"):
                continue
            greys = _greys(to_rgba_array(colour), isinstance(artist, Patch | Collection))
            if len(greys):
                put(greys if len(greys) > 1 else tuple(greys[0]))


def _of(artist: Any) -> Iterator[str]:
    """The properties by which it has colours."""
    for name in PROPERTIES:
        # A Line2D's colour is its markers' too, until they have their own.
        if isinstance(artist, Line2D | Text) and name in ("facecolor", "edgecolor"):
            continue
        if hasattr(artist, f"get_{name}") and hasattr(artist, f"set_{name}"):
            yield name


def _greys(colours: np.ndarray, may_be_pale: bool) -> np.ndarray:
    """RGBA, one a row -> the same with three equal channels, in sRGB."""
    rgb, alpha = colours[:, :3], colours[:, 3:]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    light = linear @ np.array(WEIGHTS)
    grey = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    coloured = (np.ptp(rgb, axis=1) > 0.02) & ((grey < PALE) | (not may_be_pale))
    # Squeezed, not cut, so that two colours keep apart.
    grey = np.where(coloured, np.minimum(grey / PALE, 1) * LIGHTEST, grey)
    return np.hstack([np.repeat(grey[:, None], 3, axis=1), alpha])
