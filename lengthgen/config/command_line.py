"""The argv pass: what a user writes after `lengthgen train`, brought into the form that Hydra reads.

- flags may stand anywhere: `+scheme=alibi -m seed=1,2` becomes `-m` and `scheme=alibi seed=1,2`;
- `+group=x` and `++group=x` become `group=x` for a group that is in the defaults list already, where Hydra refuses the plus;
- an unknown flag is one line with the nearest one.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError


@dataclass(frozen=True)
class Flag:
    """One flag of train and evaluate; `values` are those it accepts, () means any, None that it takes none."""

    name: str
    short: str
    meaning: str
    values: tuple[str, ...] | None = None
    default: str | None = None  # the value where none is given


FLAGS = (
    Flag("--help", "-h", "this help"),
    Flag("--multirun", "-m", "one job for each combination of the comma-separated values"),
    Flag(
        "--config-dir",
        "-cd",
        "DIR: your own configurations and schemes (DIR/scheme/NAME.yaml and NAME.py)",
        (),
    ),
    Flag(
        "--cfg",
        "-c",
        "job|hydra|all: print the configuration instead of running it",
        ("job", "hydra", "all"),
    ),
    Flag("--resolve", "", "with --cfg: interpolations resolved"),
    Flag(
        "--info",
        "-i",
        "print how the configuration was composed",
        ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
        default="all",
    ),
    Flag("--hydra-help", "", "Hydra's own help"),
)


@dataclass
class Request:
    """What was asked for: flags for Hydra (in its form), overrides, and the flags that lengthgen itself acts on."""

    flags: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)  # names of the flags
    config_dir: Path | None = None

    @property
    def multirun(self) -> bool:
        return "--multirun" in self.given

    @property
    def runs_jobs(self) -> bool:
        """False where Hydra only prints something."""
        return not self.given & {"--cfg", "--info", "--hydra-help", "--help"}


class Parser(argparse.ArgumentParser):
    """The parser of the commands that Hydra does not read: a mistake is a ConfigError of one line, and flags are written in full."""

    def __init__(self, **settings):
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> None:
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def arrange(argv: Sequence[str], groups: Iterable[str]) -> Request:
    """Sort `argv` into flags and overrides; `groups` are those of the defaults list. ConfigError for a malformed flag."""
    request = Request()
    waiting = list(argv)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("-"):
            request.overrides.append(without_plus(word, groups))
            continue
        flag, value = _flag(word)
        if flag.values is None and value is not None:
            raise ConfigError(f"{flag.name} takes no value, but got {value!r}")
        if flag.values is not None and value is None:
            value = _value_from(flag, waiting)
        request.given.add(flag.name)
        if flag.name == "--config-dir":
            request.config_dir = existing_folder(value)
            value = str(request.config_dir)
        request.flags.append(flag.name if value is None else f"{flag.name}={value}")
    return request


def without_plus(override: str, groups: Iterable[str]) -> str:
    """`+scheme=x` -> `scheme=x` where `scheme` is in the defaults list; anything else unchanged."""
    plus = re.match(r"\+{1,2}(?P<group>[^=@]+)(?=[=@])", override)
    return override.lstrip("+") if plus and plus["group"] in groups else override


def _flag(word: str) -> tuple[Flag, str | None]:
    name, _, value = word.partition("=")
    for flag in FLAGS:
        if name in (flag.name, flag.short):
            return flag, value if "=" in word else None
    names = [flag.name for flag in FLAGS]
    raise ConfigError(
        f"unknown flag {word}; expected one of: {', '.join(nearest(name, names) or names)}"
    )


def _value_from(flag: Flag, waiting: list[str]) -> str:
    """The value of `flag`, taken from the words that follow it."""
    follows = waiting[0] if waiting else None
    if follows is not None and (
        follows in flag.values or not (flag.values or follows.startswith("-"))
    ):
        return waiting.pop(0)
    if flag.default is not None:
        return flag.default
    expected = f"one of {', '.join(flag.values)}" if flag.values else "a folder"
    raise ConfigError(
        f"{flag.name} needs a value: expected {expected}"
        + (f", got {follows!r}" if follows else "")
    )


def existing_folder(value: str) -> Path:
    path = Path(value).expanduser().absolute()
    if not path.is_dir():
        raise ConfigError(
            f"--config-dir {value}: no such folder; expected a folder that holds scheme/NAME.yaml and the like"
        )
    return path
