"""Retrofits, one file each: changes to a trained model at evaluation time. One is found by its file's name; nothing lists them by hand.

One of the user's own is a file `NAME.py` beside its `NAME.yaml`, in the folder `retrofit/` of a `--config-dir`.
"""

from pathlib import Path

from lengthgen.config.plugins import Kind

NOUN, HERE = "retrofit", Path(__file__).parent
SHARED = ("rotary", "sinks")  # files of this folder that are no retrofit themselves
KIND = Kind(NOUN, __name__, HERE, "Retrofit", SHARED)

names, source, load = KIND.names, KIND.source, KIND.load
