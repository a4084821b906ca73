"""Datasets, one file for each kind of data. A dataset is found by its file's name.

A user's dataset is a file `NAME.py` beside its `NAME.yaml`, in `dataset/` of a `--config-dir`.
"""

from pathlib import Path

from lengthgen.config.plugins import Kind

NOUN, HERE = "dataset", Path(__file__).parent
SHARED = ("synthetic", "tasks")  # base classes, not datasets
KIND = Kind(NOUN, __name__, HERE, "Dataset", SHARED)

names, source, load = KIND.names, KIND.source, KIND.load
