"""Positional schemes, one file each, found by the file's name: nothing lists them by hand.

A user's scheme is a file `NAME.py` beside its `NAME.yaml`, in `scheme/` of a `--config-dir`.
"""

from pathlib import Path

from lengthgen.config.plugins import Kind

NOUN, HERE = "scheme", Path(__file__).parent
SHARED = (
    "broken_stick",
    "convolved",
    "counted_positions",
    "from_the_right",
    "pair_network",
    "relative_shift",
    "rotary",
    "wrapper",
)  # no schemes themselves
KIND = Kind(NOUN, __name__, HERE, "Scheme", SHARED)

names, source, load = KIND.names, KIND.source, KIND.load
