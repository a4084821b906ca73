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
    from lengthgen.decoding.generation import generate
    from lengthgen.pretrained.loading import load_pretrained
    from lengthgen.runs.loading import load_results, load_run
    from lengthgen.runs.run import evaluate, train
    from lengthgen.schemes.base import Declaration, Scheme

__version__ = "0.1.0"
__all__ = [
    "Declaration",
    "Scheme",
    "compose",
    "evaluate",
    "generate",
    "load_pretrained",
    "load_results",
    "load_run",
    "train",
]

_HOME = {
    "Declaration": "lengthgen.schemes.base",
    "Scheme": "lengthgen.schemes.base",
    "compose": "lengthgen.config.compose",
    "evaluate": "lengthgen.runs.run",
    "generate": "lengthgen.decoding.generation",
    "load_pretrained": "lengthgen.pretrained.loading",
    "load_results": "lengthgen.runs.loading",
    "load_run": "lengthgen.runs.loading",
    "train": "lengthgen.runs.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lengthgen' has no attribute {name!r}")
    if _HOME[name].startswith("lengthgen.runs."):
        from lengthgen.runs.process import prepare_environment

        # OpenMP reads its settings when torch is loaded, which these modules do.
        prepare_environment()
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
