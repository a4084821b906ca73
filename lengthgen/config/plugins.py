"""Classes that are found by their file's name: schemes, modifiers, retrofits. Nothing lists them by hand.

One kind is a folder of the package with a file base.py, whose one public class all others of the kind extend. A class of the user's own
is a file `NAME.py` beside its `NAME.yaml`, in the folder `scheme/`, `modifier/` or `retrofit/` of a `--config-dir`.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError


@dataclass(frozen=True)
class About:
    """What a modifier or retrofit says of itself whatever it is put around, as data: for `lengthgen list modifiers|retrofits`."""

    paper: str  # authors, title or venue, equation
    year: int
    applies_to: str  # which schemes, in words
    oracles: tuple[str, ...] = ()  # the independent implementations that the tests compare it with


@dataclass(frozen=True)
class Kind:
    """One kind of class that is found by its file's name."""

    noun: str  # what one is called, and the folder of a --config-dir that holds the user's own
    package: str  # full name of the package's own folder
    here: Path  # that folder
    base: str  # the class in base.py that every one of them extends
    shared: tuple[
        str, ...
    ]  # files of the folder that several of them share and that are none themselves

    def names(self) -> list[str]:
        """Those of the package, without importing them."""
        return sorted(
            path.stem
            for path in self.here.glob("*.py")
            if path.stem not in ("__init__", "base", *self.shared)
        )

    def source(self, name: str, folders: Sequence[Path] = ()) -> Path:
        """The file of `name`: the package's own first, then `folders` in order. ConfigError if there is none."""
        for folder in (self.here, *map(Path, folders)):
            path = folder / f"{name}.py"
            if path.is_file() and (folder != self.here or name in self.names()):
                return path
        looked = ", ".join(str(folder) for folder in folders)
        near = nearest(name, self.names())
        raise ConfigError(
            f"{self.noun} {name!r} has no code; "
            + (f"nearest: {', '.join(near)}; " if near else "")
            + f"expected one of {', '.join(self.names())}, or {name}.py in "
            + (looked or f"the {self.noun}/ folder of a --config-dir, beside {name}.yaml")
        )

    def load(self, name: str, folders: Sequence[Path] = ()) -> type[Any]:
        """The one class of this kind that the file of `name` defines. ConfigError if it defines none or several."""
        base = getattr(importlib.import_module(f"{self.package}.base"), self.base)
        path = self.source(name, folders)
        module = (
            importlib.import_module(f"{self.package}.{name}")
            if path.parent == self.here
            else self._from_outside(path)
        )
        found = [
            member
            for member in vars(module).values()
            if inspect.isclass(member)
            and issubclass(member, base)
            and member.__module__ == module.__name__
        ]
        if len(found) != 1:
            raise ConfigError(
                f"{path.name} defines {len(found)} subclasses of {self.base}; expected exactly one"
            )
        return found[0]

    def _from_outside(self, path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(
            f"lengthgen_user_{self.noun}s.{path.stem}", path
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
