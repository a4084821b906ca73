"""YAML that others wrote: refused where it is huge, or says another number than it shows.

A file of 1 KB whose aliases name each other holds billions of nodes once it is read, and YAML 1.1
takes 1_0 for 10, 012 for 10 and 12:30 for 750. Only the text is scanned here: nothing is built.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from lengthgen.errors import ConfigError

MOST_BYTES = 256 * 1024
MOST_NODES = 10_000  # with every alias written out
MOST_DEPTH = 50
# Plain scalars that YAML 1.1 reads as another number: underscores, octal, sexagesimal.
MISREAD = re.compile(r"[-+]?(?:\d[\d]*_[\d_]*(?:\.\d*)?|0\d+|\d+(?::[0-5]?\d)+)")
EVENTS = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: Path) -> Any:
    """A checked file as OmegaConf reads it. ConfigError of one line."""
    check(path)
    try:
        return OmegaConf.load(path)
    except Exception as error:
        raise ConfigError(f"{path}: {_in_one_line(error)}") from None


def check_folder(folder: Path) -> None:
    """Check every YAML of a --config-dir. ConfigError."""
    for path in sorted(folder.glob("**/*.yaml")):
        check(path)


def check(path: Path) -> None:
    """ConfigError where a file is no YAML, too large, or holds a number that would be misread."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ConfigError(f"{path}: {size} bytes; a configuration has at most {MOST_BYTES}")
        content = path.read_bytes()
        _check_nodes(path, content.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {_in_one_line(error)}") from None


def _check_nodes(path: Path, text: str) -> None:
    """Counts nodes as if every alias were written out."""
    sizes: dict[str, int] = {}  # of anchored nodes
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]  # anchor, nodes inside so far

    def close(anchor: str | None, size: int) -> None:
        if anchor:
            sizes[anchor] = size
        outer, count = open_nodes[-1]
        open_nodes[-1] = (outer, count + size)
        if count + size > MOST_NODES:
            raise ConfigError(f"{path}: more than {MOST_NODES} values; is it a configuration?")

    for event in yaml.parse(text, Loader=EVENTS):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > MOST_DEPTH:
                raise ConfigError(f"{path}: values nested more than {MOST_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            close(*open_nodes.pop())
        elif isinstance(event, yaml.AliasEvent):
            close(None, sizes.get(event.anchor, 1))
        elif isinstance(event, yaml.ScalarEvent):
            if event.implicit[0] and MISREAD.fullmatch(event.value):
                raise ConfigError(
                    f"{path}, line {event.start_mark.line + 1}: {event.value} would be read as "
                    "another number; write it plainly, or in quotes where it is text"
                )
            close(event.anchor, 1)


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
