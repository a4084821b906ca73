"""Classes found by the name of their file: schemes, modifiers, retrofits, datasets.

One kind is a folder of the package with a file base.py, whose one public class all others of the
kind extend. A user's class is a file `NAME.py` beside its `NAME.yaml`, in the folder of that kind
(`scheme/`, `modifier/`, ...) of a `--config-dir`.
"""

import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from lengthgen.config import own_code, paths
from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError


@dataclass(frozen=True)
class About:
    """What a modifier or retrofit is, whatever it goes around: for `lengthgen list`."""

    paper: str  # authors, title or venue, equation
    year: int
    applies_to: str  # which schemes, in words
    oracles: tuple[str, ...] = ()  # the independent implementations that the tests compare it with


@dataclass(frozen=True)
class Kind:
    """One kind of class that is found by the name of its file."""

    noun: str  # what one is called, and the folder of a --config-dir that holds the user's
    package: str  # full name of the package's folder
    here: Path  # that folder
    base: str  # the class in base.py that every one of them extends
    shared: tuple[str, ...]  # files of the folder that define none, for several to share

    def names(self) -> list[str]:
        """Those of the package, without importing them."""
        stems = {path.stem for path in self.here.glob("*.py")}
        return sorted(stems - {"__init__", "base", *self.shared})

    def source(self, name: str, folders: Sequence[Path] = ()) -> Path:
        """The file of `name`: the package's first, then `folders` in order. ConfigError if none.

        Also for what is no name: a path would reach code that nobody put into these folders.
        """
        paths.name(name, f"{self.noun}.name")
        for folder in (self.here, *map(Path, folders)):
            path = folder / f"{name}.py"
            if path.is_file() and (folder != self.here or name in self.names()):
                return path
        near = ", ".join(nearest(name, self.names()))
        outside = f"the {self.noun}/ folder of a --config-dir, beside {name}.yaml"
        raise ConfigError(
            f"{self.noun} {name!r} has no code; "
            + (f"nearest: {near}; " if near else "")
            + f"expected one of {', '.join(self.names())}, or {name}.py in "
            + (", ".join(map(str, folders)) or outside)
        )

    def load(self, name: str, folders: Sequence[Path] = ()) -> type[Any]:
        """The one class of this kind in the file of `name`. ConfigError if none or several."""
        path = self.source(name, folders)  # before the import of base, which may be torch's
        base = getattr(importlib.import_module(f"{self.package}.base"), self.base)
        if path.parent == self.here:
            module = importlib.import_module(f"{self.package}.{name}")
        else:
            module = self._from_outside(path)
        classes = [
            member
            for member in vars(module).values()
            if inspect.isclass(member)
            and issubclass(member, base)
            and member.__module__ == module.__name__  # not one that the file imports
        ]
        if len(classes) != 1:
            raise ConfigError(
                f"{path.name} defines {len(classes)} subclasses of {self.base}; "
                "expected exactly one"
            )
        if not is_dataclass(getattr(classes[0], "Config", None)):
            raise ConfigError(
                f"{path.name}: {classes[0].__name__} has no `Config`; expected a dataclass of its "
                "options"
            )
        return classes[0]

    def _from_outside(self, path: Path) -> ModuleType:
        name = f"lengthgen_user_{self.noun}s.{path.stem}"
        loader = _FromSource(name, str(path))
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        if spec is None:
            raise ConfigError(f"{path}: not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where dataclasses look up annotations that are strings
        with own_code.in_file(path):
            loader.exec_module(module)
        return module


class _FromSource(importlib.machinery.SourceFileLoader):
    """Runs what stands in the file, never what a __pycache__ beside it holds, and writes none."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)
