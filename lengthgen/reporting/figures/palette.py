"""One fixed colour, marker and line style per scheme, the same in every figure.

A variant of a known scheme (`t5_bias(num_buckets=64)`, `rope+yarn`) is a shade of its colour; its
marker and dashes, and the colour of a user's scheme, come from a hash of the name. Such a marker is
none that a known scheme has. Colours follow Okabe and Ito (2008)
and Tol's muted set, which differ under the common kinds of colour blindness; in greyscale markers
and line styles differ.
"""

import colorsys
import hashlib
from dataclasses import dataclass

DISTINCT = 40  # a figure of more lines is not drawn: nobody could follow them
SOLID, DASHED, DOTTED, DASH_DOT = (0, ()), (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.4, 1.2, 1.4))


@dataclass(frozen=True)
class Style:
    """How one scheme is drawn, in matplotlib's words."""

    colour: str  # #rrggbb
    marker: str | tuple
    line: tuple  # dashes: (offset, on-off sequence in points)


KNOWN = {  # append only: a change would restyle every published figure
    "none": Style("#777777", "<", DOTTED),
    "learned": Style("#D55E00", "s", SOLID),
    "sinusoidal": Style("#E69F00", "^", DASHED),
    "normalised_sinusoid": Style("#882255", "v", DOTTED),
    "rope": Style("#0072B2", "D", DASH_DOT),
    "t5_bias": Style("#009E73", "o", SOLID),
    "alibi": Style("#56B4E9", ">", DASHED),
    "kerple_log": Style("#CC79A7", "P", SOLID),
    "kerple_power": Style("#AA4499", "d", DASH_DOT),
    "fire": Style("#000000", "*", SOLID),
    "sandwich": Style("#999933", "h", DASHED),
    "per_offset": Style("#332288", "p", DASHED),
}
# Stars of another number of points than fire's five: (points, 1 for a star, degrees of rotation).
_MARKERS = ((3, 1, 0), (4, 1, 0), (4, 1, 45), (6, 1, 0))
SHADES = (0.18, 0.25, 0.32, 0.39, 0.46)  # lightness of a variant's colour
_LINES = (SOLID, DASHED, DOTTED, DASH_DOT)


def style(scheme: str) -> Style:
    """Of a scheme's label; it depends on no other scheme."""
    if scheme in KNOWN:
        return KNOWN[scheme]
    digest = hashlib.sha256(scheme.encode("utf-8")).digest()
    marker, line = _MARKERS[digest[3] % len(_MARKERS)], _LINES[digest[4] % len(_LINES)]
    if base(scheme) in KNOWN:
        return Style(shade(KNOWN[base(scheme)].colour, digest[2] % len(SHADES)), marker, line)
    hue, lightness = int.from_bytes(digest[:2]) / 65536, (0.30, 0.42, 0.54)[digest[2] % 3]
    return Style(_hex(hue, lightness, 0.65), marker, line)


def edge(style: Style) -> str:
    """The colour around a marker: white parts it from lines, but would hide a thin star."""
    return style.colour if isinstance(style.marker, tuple) or style.marker == "x" else "white"


def base(scheme: str) -> str:
    """The scheme that a label is a variant of: `rope(base=500000)+yarn` -> `rope`."""
    return scheme.partition("(")[0].partition("+")[0]


def shade(colour: str, number: int) -> str:
    """A colour made darker or lighter, of the same hue."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, _, saturation = colorsys.rgb_to_hls(*channels)
    return _hex(hue, SHADES[number % len(SHADES)], 0.85 * saturation)


def _hex(hue: float, lightness: float, saturation: float) -> str:
    channels = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * channel):02X}" for channel in channels)


def order(scheme: str) -> tuple[int, str]:
    """Sort key: known schemes in their order, each with its variants (rope+yarn), then others."""
    known, of = list(KNOWN), base(scheme)
    return (known.index(of) if of in KNOWN else len(known), scheme)
