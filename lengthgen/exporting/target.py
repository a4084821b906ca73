"""The folder of an export: what may be there before, and the list of what was written.

A folder is replaced whole, so only one that an earlier export wrote is: its list names every file
in it. Anything else is left as it is.
"""

from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.errors import ConfigError

MANIFEST = "lengthgen.json"


def check(folder: Path, overwrite: bool) -> None:
    """ConfigError unless `folder` is not there, is empty, or is an earlier export."""
    if folder.is_symlink():
        raise ConfigError(f"{folder} is a link; give the folder itself, or remove the link")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file; expected a folder that is not there yet")
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise ConfigError(
            f"{folder} exists; give another folder, or --overwrite if an export may be replaced"
        )
    others = _others(folder)
    if others:
        raise ConfigError(
            f"{folder} holds what no export wrote ({', '.join(others[:3])}); --overwrite replaces "
            "exports alone: give another folder"
        )


def _others(folder: Path) -> list[str]:
    """What is in the folder beside the files of an export, by name."""
    content = files.read_json(folder / MANIFEST, {})
    listed = content.get("files", {}) if isinstance(content, dict) else {}
    known = {*listed, MANIFEST} if isinstance(listed, dict) and listed else set()
    inside = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
    names = [path.relative_to(folder).as_posix() for path in inside]
    return [
        name
        for name, path in zip(names, inside, strict=True)
        if path.is_symlink() or name not in known
    ]


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """lengthgen.json: the facts, and the SHA-256 of every file in the folder."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    sums = {name: files.sha256(folder / name) for name in names if (folder / name).is_file()}
    files.write_json(folder / MANIFEST, facts | {"files": sums})
