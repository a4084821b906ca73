"""What configs/ offers: groups, options, and the comments beside the keys.

Reads files; knows no Hydra and imports no torch. A user's `--config-dir` has the same shape:
`mine/scheme/my_bias.yaml` is one more option of the group `scheme`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen.errors import ConfigError, DiskError

PACKAGE = Path(__file__).parent.parent  # lengthgen/
_DEFAULT = re.compile(r"^ +- (?P<group>[\w/]+): *(?P<option>[\w./-]+)(?: +# *(?P<comment>.*))?$")
_KEY = re.compile(r"^(?P<key>\w+): *(?P<value>.*?)(?: +# *(?P<comment>.*))?$")


@dataclass(frozen=True)
class Key:
    """One line of a primary configuration: a group of its defaults list, or a top-level key."""

    name: str
    value: str  # the default, as written; for a group its default option
    comment: str


def folder() -> Path:
    """configs/: inside an installed package, beside it in a checkout."""
    installed = PACKAGE / "configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"


def folders(config_dir: Path | None = None) -> list[Path]:
    """Every folder of configurations: the package's, then the user's."""
    return [folder()] + ([config_dir] if config_dir else [])


def groups(command: str) -> list[Key]:
    """The groups in the defaults list of `command`'s primary configuration, in order."""
    matches = map(_DEFAULT.match, _lines(folder() / f"{command}.yaml"))
    return [Key(m["group"], m["option"], m["comment"] or "") for m in matches if m]


def keys(command: str) -> list[Key]:
    """The top-level keys of `command`'s primary configuration, in order, without Hydra's."""
    matches = map(_KEY.match, _lines(folder() / f"{command}.yaml"))
    keys = [Key(m["key"], m["value"], m["comment"] or "") for m in matches if m]
    return [key for key in keys if key.name not in ("defaults", "hydra")]


def names(command: str) -> list[str]:
    """Every name that may begin a key of `command`: its groups and its top-level keys."""
    return [key.name for key in [*groups(command), *keys(command)]]


def options(group: str, where: Sequence[Path]) -> list[str]:
    """The options of `group`: names of the YAML files in the folders of that name.

    One in a folder below has that folder in its name, as Hydra calls it: gpu/small_512.
    """
    return sorted(files(group, where))


def all_groups(where: Sequence[Path]) -> list[str]:
    """Every group that has an option, without Hydra's."""
    return sorted({path.parent.name for root in where for path in root.glob("*/*.yaml")})


def files(group: str, where: Sequence[Path]) -> dict[str, Path]:
    """Option -> its YAML file. As in Hydra's search, the package's comes first."""
    by_option: dict[str, Path] = {}
    for root in where:
        for path in sorted((root / group).rglob("*.yaml")):
            option = path.relative_to(root / group).with_suffix("").as_posix()
            by_option.setdefault(option, path)
    return by_option


def contents(path: Path, where: Sequence[Path]) -> dict[str, Any]:
    """The keys of an option's YAML file over those of its defaults list, as Hydra merges them.

    ConfigError if an option of that list does not exist.
    """
    from omegaconf import OmegaConf

    keys: Any = OmegaConf.to_container(OmegaConf.load(path)) or {}
    defaults = keys.pop("defaults", [])
    siblings = files(path.parent.name, where)
    layers = []
    for entry in defaults if "_self_" in defaults else [*defaults, "_self_"]:
        if entry == "_self_":
            layers.append(keys)
        elif entry in siblings and siblings[entry] != path:
            layers.append(contents(siblings[entry], where))
        else:
            raise ConfigError(f"{path}: no {path.parent.name} {entry!r}; expected one that exists")
    merged: Any = OmegaConf.to_container(OmegaConf.merge(*layers))
    return merged


def meaning(path: Path) -> str:
    """What an option is, in one line: its YAML file's first comment, alone or beside `name:`."""
    for line in _lines(path):
        # `# @package ...` is a directive of Hydra, not a description.
        comment = re.match(r"(?:name: *\S+ +)?#(?! @) *(?P<text>.*)", line)
        if comment:
            return comment["text"].rstrip()
    return ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DiskError(
            f"cannot read {path}: {error.strerror}; make it readable, then rerun the command"
        ) from error
