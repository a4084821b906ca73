"""Positional schemes, one file each. A scheme is found by its file's name; nothing lists them by hand.

A scheme outside the package is a file `NAME.py` beside its `NAME.yaml`, in the folder `scheme/` of a `--config-dir`.
"""

from pathlib import Path

from lengthgen.config.plugins import Kind

NOUN, HERE = "scheme", Path(__file__).parent
SHARED = (
    "relative_shift",
    "rotary",
    "wrapper",
)  # files of this folder that are no scheme themselves
KIND = Kind(NOUN, __name__, HERE, "Scheme", SHARED)

names, source, load = KIND.names, KIND.source, KIND.load
