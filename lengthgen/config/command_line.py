"""What a user writes after `lengthgen train`, brought into the form that Hydra reads.

- flags may stand anywhere: `+scheme=alibi -m seed=1,2` becomes `-m` and `scheme=alibi seed=1,2`;
- `key=~/x` becomes `key='~/x'`;
- `+group=x` and `++group=x` become `group=x` where the defaults list has the group: Hydra refuses
  the plus there;
- an unknown flag is one line with the nearest one.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError


@dataclass(frozen=True)
class Flag:
    """One flag of train and evaluate. values: those it accepts; () any, None it takes no value."""

    name: str
    short: str
    meaning: str
    values: tuple[str, ...] | None = None
    default: str | None = None  # the value where none is given
    expected: str = ""  # of any value, in words


OURS = ("--isolate", "--budget", "--skip-published")  # flags that Hydra does not know
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
FLAGS = (
    Flag("--help", "-h", "this help"),
    Flag("--multirun", "-m", "one job for each combination of the comma-separated values"),
    Flag("--isolate", "", "with -m: each job in a process of its own, whose end ends no other"),
    Flag(
        "--budget",
        "",
        "TIME, as 25m or 1h30m: what runs then saves at its next step and ends (exit code 9); the "
        "same command goes on",
        (),
        expected="a time such as 25m",
    ),
    Flag(
        "--skip-published",
        "",
        "runs that a sealed folder results/NAME/ has in full count as done, without a run folder",
    ),
    Flag(
        "--config-dir",
        "-cd",
        "DIR: your configurations and code (DIR/scheme/NAME.yaml, NAME.py)",
        (),
        expected="a folder",
    ),
    Flag(
        "--cfg",
        "-c",
        "job|hydra|all: print the configuration instead of running it",
        ("job", "hydra", "all"),
    ),
    Flag("--resolve", "", "with --cfg: interpolations resolved"),
    Flag("--info", "-i", "print how the configuration was composed", INFO, default="all"),
    Flag("--hydra-help", "", "Hydra's own help"),
)


@dataclass
class CommandLine:
    """Flags in Hydra's form, overrides, and the flags that lengthgen itself acts on."""

    flags: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    flag_names: set[str] = field(default_factory=set)
    config_dir: Path | None = None
    own: dict[str, str] = field(default_factory=dict)  # values of those that Hydra does not know

    @property
    def multirun(self) -> bool:
        return "--multirun" in self.flag_names

    @property
    def isolates(self) -> bool:
        return "--isolate" in self.flag_names

    @property
    def runs_jobs(self) -> bool:
        """False where Hydra only prints something."""
        return not self.flag_names & {"--cfg", "--info", "--hydra-help", "--help"}


class Parser(argparse.ArgumentParser):
    """For the commands that Hydra does not read: an error is a ConfigError of one line."""

    def __init__(self, **settings: Any):
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def arrange(argv: Sequence[str], groups: Iterable[str]) -> CommandLine:
    """Sort `argv` into flags and overrides. ConfigError for a malformed flag.

    groups: those of the command's defaults list.
    """
    line = CommandLine()
    waiting = list(argv)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("-"):
            _refuse_underscores(word)
            line.overrides.append(with_quoted_home(without_plus(word, groups)))
            continue
        flag, value = _flag(word)
        line.flag_names.add(flag.name)
        if flag.values is None:
            if value is not None:
                raise ConfigError(f"{flag.name} takes no value, but got {value!r}")
            if flag.name not in OURS:
                line.flags.append(flag.name)
            continue
        value = _value(flag, flag.values, [value] if value is not None else waiting)
        if flag.name == "--config-dir":
            line.config_dir = existing_folder(value)
            value = str(line.config_dir)
        if flag.name in OURS:
            line.own[flag.name] = value
        else:
            line.flags.append(f"{flag.name}={value}")
    return line


PRETRAINED = re.compile(r"\+{0,2}model(?==)")


def configuration(command: str, argv: Sequence[str]) -> str:
    """The primary configuration of a command: `evaluate model=...` has one of its own."""
    of_a_model = command == "evaluate" and any(map(PRETRAINED.match, argv))
    return "pretrained" if of_a_model else command


def with_its_key(command: str, override: str) -> str:
    """`model=hf:...` as the key of that configuration: `model` is a group, whose options Hydra
    looks for.
    """
    return PRETRAINED.sub("pretrained", override, 1) if command == "pretrained" else override


def _refuse_underscores(override: str) -> None:
    """ConfigError for `steps=1_0`, which would be read as 10."""
    key, _, value = override.partition("=")
    if number := re.search(r"(?<![^=,\[\](){}:\s])[-+]?\d+(?:_\d+)+(?=$|[],(){}\s])", f"={value}"):
        plain = number[0].replace("_", "")
        raise ConfigError(f"{override}: expected numbers without underscores, as {key}={plain}")


def without_plus(override: str, groups: Iterable[str]) -> str:
    """`+scheme=x` -> `scheme=x` where `scheme` is in the defaults list; others unchanged."""
    plus = re.match(r"\+{1,2}(?P<group>[^=@]+)(?=[=@])", override)
    return override.lstrip("+") if plus and plus["group"] in groups else override


def with_quoted_home(override: str) -> str:
    """`results=~/x` -> `results='~/x'`: Hydra's grammar has no bare ~ in a value."""
    home = re.fullmatch(r"(?P<key>[^=]+)=(?P<path>~[\w./@+-]*)", override)
    return f"{home['key']}='{home['path']}'" if home else override


def _flag(word: str) -> tuple[Flag, str | None]:
    name, equals, value = word.partition("=")
    for flag in FLAGS:
        if name in (flag.name, flag.short):
            return flag, value if equals else None
    names = [flag.name for flag in FLAGS]
    near = ", ".join(nearest(name, names) or names)
    raise ConfigError(f"unknown flag {word}; expected one of: {near}")


def _value(flag: Flag, accepted: tuple[str, ...], waiting: list[str]) -> str:
    word = waiting[0] if waiting else ""
    if word in accepted if accepted else word and not word.startswith("-"):
        return waiting.pop(0)
    if flag.default is not None:
        return flag.default
    expected = f"one of {', '.join(accepted)}" if accepted else flag.expected
    got = f", got {word!r}" if word else ""
    raise ConfigError(f"{flag.name} needs a value: expected {expected}{got}")


def existing_folder(value: str) -> Path:
    path = Path(value).expanduser().absolute()
    if not path.is_dir():
        raise ConfigError(
            f"--config-dir {value}: no such folder; "
            "expected a folder that holds scheme/NAME.yaml and the like"
        )
    return path
