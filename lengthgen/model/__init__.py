"""A decoder-only Transformer: its settings, its layers, its weights. It names no scheme.

Everything is imported when it is first used: settings.py needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lengthgen.model.building import build, initialise, keyed_generator, parameter_counts
    from lengthgen.model.settings import ModelConfig, refuse_too_large
    from lengthgen.model.transformer import SCORED_AT_ONCE, Attention, Block, Transformer

__all__ = [
    "SCORED_AT_ONCE", "Attention", "Block", "ModelConfig", "Transformer", "build", "initialise",
    "keyed_generator", "parameter_counts", "refuse_too_large",
]  # fmt: skip

_HOME = {
    "SCORED_AT_ONCE": "transformer",
    "Attention": "transformer",
    "Block": "transformer",
    "ModelConfig": "settings",
    "Transformer": "transformer",
    "build": "building",
    "initialise": "building",
    "keyed_generator": "building",
    "parameter_counts": "building",
    "refuse_too_large": "settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lengthgen.model' has no attribute {name!r}")
    return getattr(import_module(f"lengthgen.model.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
