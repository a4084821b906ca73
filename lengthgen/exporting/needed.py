"""The optional packages of an export, or one line that says how to install them."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from lengthgen.errors import ConfigError


def transformers() -> Any:
    """The library, with the formats that it needs here. ConfigError where one is missing."""
    for name in ("safetensors", "transformers"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f'export --to hf needs the package {name}: pip install "lengthgen[pretrained]"'
            )
    module: ModuleType = importlib.import_module("transformers")
    return module


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Without its progress bars and warnings, which are of loading what we have just written."""
    logging_of: Any = transformers.utils.logging
    before: int = logging_of.get_verbosity()
    bars: Callable[[], bool] = logging_of.is_progress_bar_enabled
    shown = bars()
    logging_of.set_verbosity_error()
    logging_of.disable_progress_bar()
    try:
        yield
    finally:
        logging_of.set_verbosity(before)
        if shown:
            logging_of.enable_progress_bar()
