"""Positional schemes, one file each. A scheme is found by its file's name; nothing lists them by hand.

A scheme outside the package is a file `NAME.py` beside its `NAME.yaml`, in the folder `scheme/` of a `--config-dir`.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from lengthgen.errors import ConfigError

HERE = Path(__file__).parent


def names() -> list[str]:
    """The schemes of the package, without importing them."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("__init__", "base"))


def source(name: str, folders: Sequence[Path] = ()) -> Path:
    """The file of scheme `name`: the package's own first, then `folders` in order. ConfigError if there is none."""
    for folder in (HERE, *map(Path, folders)):
        path = folder / f"{name}.py"
        if path.is_file() and name in (names() if folder == HERE else [path.stem]):
            return path
    looked = ", ".join(str(folder) for folder in folders)
    raise ConfigError(
        f"scheme {name!r} has no code: expected one of {', '.join(names())}"
        + (f", or {name}.py in {looked}" if looked else "; put NAME.py beside NAME.yaml in the scheme/ folder of a --config-dir")
    )


def load(name: str, folders: Sequence[Path] = ()) -> type:
    """The `Scheme` subclass that the file of scheme `name` defines."""
    from lengthgen.schemes.base import Scheme

    path = source(name, folders)
    module = importlib.import_module(f"{__name__}.{name}") if path.parent == HERE else _import_file(path)
    found = [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, Scheme) and member.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ConfigError(f"{path.name} defines {len(found)} subclasses of Scheme; expected exactly one")
    return found[0]


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"lengthgen_user_schemes.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
