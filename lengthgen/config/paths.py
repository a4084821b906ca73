"""Folders and names that a user gives: `~` stands for the home folder, and a name is no path."""

import re
from pathlib import Path

from lengthgen.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def folder(text: str | Path, key: str) -> Path:
    """A folder that a user names, with `~` expanded. ConfigError where it can be none.

    key: what the user wrote it for, such as `results`.
    """
    words = str(text)
    if not words.strip() or "\0" in words:
        raise ConfigError(f"{key}={words!r}: expected the name of a folder")
    if len(words.encode("utf-8", "surrogateescape")) > 4000:
        raise ConfigError(f"{key}={words[:40]}...: expected a path of at most 4000 bytes")
    try:
        return Path(words).expanduser()
    except RuntimeError:  # ~nobody
        raise ConfigError(f"{key}={words}: no home folder of that user is known") from None


def name(text: str, key: str) -> str:
    """A name that is looked up as a file NAME.py. ConfigError for whatever is more than a name."""
    if not NAME.fullmatch(text) or ".." in text:
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise ConfigError(f"{key}={shown!r}: expected a name of letters, digits and _ . -, no path")
    return text
