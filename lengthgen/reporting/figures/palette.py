"""One fixed colour, marker and line style per scheme, the same in every figure.

A name outside KNOWN (a variant such as `t5_bias(num_buckets=64)`, a user's scheme) gets a style
from a hash of its name, with a marker that no known scheme has. Colours follow Okabe and Ito (2008)
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
_LINES = (SOLID, DASHED, DOTTED, DASH_DOT)


def style(scheme: str) -> Style:
    """Of a scheme's label; it depends on no other scheme."""
    if scheme in KNOWN:
        return KNOWN[scheme]
    digest = hashlib.sha256(scheme.encode("utf-8")).digest()
    hue, lightness = int.from_bytes(digest[:2]) / 65536, (0.30, 0.42, 0.54)[digest[2] % 3]
    channels = colorsys.hls_to_rgb(hue, lightness, 0.65)
    colour = "#" + "".join(f"{round(255 * channel):02X}" for channel in channels)
    return Style(colour, _MARKERS[digest[3] % len(_MARKERS)], _LINES[digest[4] % len(_LINES)])


def order(scheme: str) -> tuple[int, str]:
    """Sort key: known schemes in their order, each with its variants (rope+yarn), then others."""
    base = scheme.partition("(")[0].partition("+")[0]
    known = list(KNOWN)
    return (known.index(base) if base in KNOWN else len(known), scheme)
