"""Retrofits: changes to a trained model at evaluation time. One file each, found by its name.

A user's retrofit is a file `NAME.py` beside its `NAME.yaml`, in the folder `retrofit/` of a
`--config-dir`.
"""

from pathlib import Path

from lengthgen.config.plugins import Kind

NOUN, HERE = "retrofit", Path(__file__).parent
SHARED = ("rotary", "sinks")  # files of this folder that are not retrofits
KIND = Kind(NOUN, __name__, HERE, "Retrofit", SHARED)

names, source, load = KIND.names, KIND.source, KIND.load
