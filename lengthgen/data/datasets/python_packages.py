"""Installed Python packages, each one document, its modules after those that they import.

What a module imports stands before it, often far before: names, signatures and idioms come again
over tens of thousands of bytes. So this text needs long context as source files alone do not
(dataset=python), on every machine, without a download. Which packages there are, and so the
fingerprint, depends on the machine.
"""

import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from lengthgen.config.dataclass_from import check, limit
from lengthgen.data.datasets.base import (
    Dataset,
    Document,
    check_fraction,
    options_key,
    read,
    split_of,
)
from lengthgen.data.datasets.python import decoded
from lengthgen.errors import DataError

EXCLUDED = (
    # copies of other packages, which would stand in both splits
    "_vendor", "vendored", "vendor", "_vendored*", "extern", "externals", "_bundled", "third_party",
    "test", "tests", "testing", "__pycache__",  # many near-copies of the same lines
    "lengthgen",  # the text would change with this program
)  # fmt: skip
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(?P<origin>[.\w]+)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n#]*)"
    rb"|import[ \t]+(?P<modules>[^\n#]*))",
    re.M,
)


@dataclass
class Config:
    label: str = "python_packages"  # name in tables and figures
    # packages to take, such as yaml; empty: all of a size between the next two
    include: list[str] = field(default_factory=list)
    # names of packages, folders and files to leave out (shell patterns)
    exclude: list[str] = field(default_factory=lambda: list(EXCLUDED))
    smallest: int = 32_768  # bytes of source of the smallest package taken
    largest: int = 2_000_000  # and of the largest: a few huge ones would be most of the text
    validation_fraction: float = 0.25  # share of the packages, chosen by a hash of their name

    def __post_init__(self):
        limit(self, "dataset", "> 0", "smallest")
        sizes = f"dataset.smallest={self.smallest}, dataset.largest={self.largest}"
        check(self.smallest <= self.largest, f"{sizes}: expected the second not below the first")
        check_fraction(self.validation_fraction)


class PythonPackages(Dataset):
    """Folders with an __init__.py in site-packages, sorted by name; UTF-8 with LF line ends."""

    Config = Config

    def documents(self, split: str) -> Iterator[Document]:
        for name, paths in self._packages().items():
            if split_of(name, self.config.validation_fraction) == split:
                modules = {}
                for module, path in paths.items():
                    text = decoded(read(path))
                    if text is None:
                        self.left_out["file not decodable"] += 1
                    elif text.strip():
                        modules[module] = text
                parts = (
                    f"# {module.replace('.', '/')}.py\n".encode()
                    + modules[module].rstrip()
                    + b"\n\n"
                    for module in in_order(modules)
                )
                yield Document(name, b"".join(parts))

    def key(self) -> str:
        paths = (path for package in self._packages().values() for path in package.values())
        return options_key(self.config, paths)

    def _packages(self) -> dict[str, dict[str, Path]]:
        """Package -> module, as `yaml.nodes` or `yaml.__init__` -> its file; all sorted."""
        roots = sorted({Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")})
        found: dict[str, dict[str, Path]] = {}
        for root in roots:
            for folder in sorted(root.iterdir()) if root.is_dir() else ():
                if self._wanted(folder.name, top=True) and (folder / "__init__.py").is_file():
                    found.setdefault(folder.name, self._modules(root, folder))
        config = self.config
        packages = {
            name: modules
            for name, modules in sorted(found.items())
            if config.include
            or config.smallest
            <= sum(path.stat().st_size for path in modules.values())
            <= config.largest
        }
        if not packages:
            wanted = f" of {', '.join(config.include)}" if config.include else " of this size"
            raise DataError(
                f"no packages{wanted} in {', '.join(map(str, roots))}; "
                "expected some: give other sizes, or dataset=python"
            )
        return packages

    def _modules(self, root: Path, folder: Path) -> dict[str, Path]:
        modules = {}
        for here, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if self._wanted(name)]
            for name in names:
                if name.endswith(".py") and self._wanted(name):
                    path = Path(here) / name
                    modules[".".join(path.relative_to(root).with_suffix("").parts)] = path
        return dict(sorted(modules.items()))

    def _wanted(self, name: str, top: bool = False) -> bool:
        if any(fnmatchcase(name.removesuffix(".py"), pattern) for pattern in self.config.exclude):
            return False
        return not top or not self.config.include or name in self.config.include


def in_order(modules: dict[str, bytes]) -> list[str]:
    """The modules of a package, imported ones before those that import them.

    Within a ring of imports, and where nothing else decides, by name.
    """
    needs = {name: sorted(imported(name, text) & modules.keys()) for name, text in modules.items()}
    order: dict[str, None] = {}
    entered: set[str] = set()
    for name in sorted(modules):
        stack = [name]
        while stack:
            if stack[-1] in entered:
                order.setdefault(stack.pop())
                continue
            entered.add(stack[-1])
            stack += [need for need in reversed(needs[stack[-1]]) if need not in entered]
    return list(order)


def imported(module: str, text: bytes) -> set[str]:
    """Every module that this one may import, by its lines; names that are none do no harm."""
    found = set()
    for line in _IMPORT.finditer(text):
        if line["modules"]:
            names = [
                part.split()[0] for part in line["modules"].decode().split(",") if part.split()
            ]
        else:
            origin = line["origin"].decode()
            dots = len(origin) - len(origin.lstrip("."))
            base = module.split(".")[: -dots or None] if dots else []
            base += [part for part in origin.lstrip(".").split(".") if part]
            below = re.findall(r"[\w.]+", line["names"].decode())
            names = [".".join(base), *(".".join([*base, name]) for name in below)]
        found |= {name for each in names for name in (each, f"{each}.__init__")}
    return found - {module}
