"""The hooks of a dataset that are called long after it was read: answers, floors, distances."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lengthgen.config import own_code
from lengthgen.errors import DataError

KINDS = {"answers": "b", "distances": "iu", "floors": "fiu"}  # of NumPy's dtypes
WORDS = {"answers": "true or false", "distances": "whole numbers", "floors": "numbers"}
Hook = Callable[..., np.ndarray]


def checked(hook: Hook, code: Path | None) -> Hook:
    """The hook; of a user's own `code`, what it raises or gives wrongly is a DataError of one line.

    hook: a method of a Dataset, named in KINDS; from symbols to one value each.
    """
    if code is None:
        return hook

    def call(symbols: np.ndarray, *more: Any) -> np.ndarray:
        with own_code.in_file(code, DataError):
            values: Any = hook(symbols, *more)
            if not isinstance(values, np.ndarray):
                raise TypeError(f"{hook.__name__}() gave {type(values).__name__}, no array")
            if values.shape != symbols.shape or values.dtype.kind not in KINDS[hook.__name__]:
                raise TypeError(
                    f"{hook.__name__}() gave {values.dtype} of shape {values.shape}, expected "
                    f"{WORDS[hook.__name__]} of shape {symbols.shape}"
                )
        return values

    return call
