"""The dataset that a configuration chooses, unread. No torch."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen.config import own_code
from lengthgen.config.dataclass_from import build
from lengthgen.data import datasets, limited
from lengthgen.data.datasets.base import Dataset
from lengthgen.errors import ConfigError

SHARED = [field.name for field in dataclasses.fields(limited.Every)]  # options of every dataset


def make_dataset(options: Mapping[str, Any], folders: Sequence[Path] = ()) -> Dataset:
    """The dataset that a configuration describes, unread. Raises ConfigError.

    folders: the user's dataset/ folders, where NAME.py may be.
    """
    options = dict(options)
    if not options.get("name"):
        raise ConfigError(f"dataset has no name; expected one of {', '.join(datasets.names())}")
    name = options.pop("name")
    cls: type[Dataset] = datasets.load(name, folders)
    shared = {key: options.pop(key) for key in SHARED if key in options}
    with own_code.in_file(user_code_of(name, folders)):
        dataset = cls(build(cls.Config, options, "dataset"))
    dataset.train_tokens = build(limited.Every, shared, "dataset").train_tokens
    return dataset


def user_code_of(name: str, folders: Sequence[Path]) -> Path | None:
    """The dataset's file, where it is not the package's."""
    code = datasets.source(name, folders)
    return None if code.parent == datasets.HERE else code
