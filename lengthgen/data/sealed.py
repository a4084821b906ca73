"""JSON files of the cache that carry a SHA-256 of their content, so that damage is found."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.errors import DataError

KEY = "sha256"


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace `path` by `content` and its sum. Raises DiskError."""
    files.write_json(path, {**content, KEY: _sum(content)})


def read(path: Path) -> dict[str, Any] | None:
    """The content; None without a file. DataError where it is damaged.

    A file from before there were sums is taken as it is.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        given = content.pop(KEY, None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error})") from None
    if given is not None and given != _sum(content):
        raise DataError(f"{path} is damaged (its content has changed since it was written)")
    return content


def _sum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
