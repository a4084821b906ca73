"""Datasets, one file a kind of source. A dataset is found by its file's name; nothing lists them by hand.

A dataset outside the package is a file `NAME.py` beside its `NAME.yaml`, in the folder `dataset/` of a `--config-dir`.
"""

from pathlib import Path

from lengthgen.config.plugins import Kind

NOUN, HERE = "dataset", Path(__file__).parent
SHARED = ("synthetic", "tasks")  # files of this folder that are no dataset themselves
KIND = Kind(NOUN, __name__, HERE, "Dataset", SHARED)

names, source, load = KIND.names, KIND.source, KIND.load
