"""lengthgen: which positional scheme holds up on sequences longer than it was trained on?

    from lengthgen import compose, load_results, load_run, train

    train(compose(["scheme=alibi", "steps=50"]))
    load_results()

Everything is imported when it is first used: `import lengthgen` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lengthgen.config.compose import compose
    from lengthgen.runs.from_python import evaluate, load_results, load_run, train
    from lengthgen.schemes.base import Declaration, Scheme

__version__ = "0.1.0"
__all__ = ["Declaration", "Scheme", "compose", "evaluate", "load_results", "load_run", "train"]

_HOME = {
    "Declaration": "lengthgen.schemes.base",
    "Scheme": "lengthgen.schemes.base",
    "compose": "lengthgen.config.compose",
    "evaluate": "lengthgen.runs.from_python",
    "load_results": "lengthgen.runs.from_python",
    "load_run": "lengthgen.runs.from_python",
    "train": "lengthgen.runs.from_python",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lengthgen' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
