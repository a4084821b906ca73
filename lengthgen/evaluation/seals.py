"""Seals: the SHA-256 of what was written, so that a changed, cut or missing file is found.

A JSON file is sealed by a sum of its own content, under `seal`; a folder by such a file, the
manifest.json: what it is of, and the sum of each file. Against damage, not against forgery: nothing
is signed.
"""

import hashlib
import json
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from lengthgen import files

MANIFEST = "manifest.json"
SEAL = "seal"


def seal(folder: Path, of: str) -> None:
    """Write manifest.json over all files of `folder`, without those of its subfolders.

    of: whose folder it is, such as RUN/EVALUATION: a copy under another name is found.
    """
    names = sorted(path.name for path in folder.glob("[!.]*") if path.is_file())
    content = {"of": of, "sha256": sums(folder, (name for name in names if name != MANIFEST))}
    write_sealed(folder / MANIFEST, content)


def is_sealed(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def faults(folder: Path, of: str, names: Container[str] | None = None) -> list[str]:
    """What differs from the manifest, each in a few words. Files that it does not list are free.

    names: the files that matter; None: all. Empty where there is no manifest: earlier versions
    wrote none.
    """
    if not is_sealed(folder):
        return []
    manifest = files.read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not is_intact(manifest):
        return [f"{MANIFEST} is damaged"]
    owner, expected = manifest["of"], manifest["sha256"]
    if names is not None:
        expected = {name: each for name, each in expected.items() if name in names}
    return ([f"it is of {owner}"] if owner != of else []) + differing(folder, expected)


def sums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name -> SHA-256 of a file."""
    return {name: sha256(folder / name) for name in names}


def differing(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """`lengths.csv is missing`, `losses.npz is damaged`: files without the expected sum."""
    found = []
    for name, expected_sum in expected.items():
        try:
            if sha256(folder / name) != expected_sum:
                found.append(f"{name} is damaged")
        except FileNotFoundError:
            found.append(f"{name} is missing")
        except (OSError, ValueError) as error:
            found.append(f"{name} cannot be read ({error})")
    return found


def sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file by `content` and its seal."""
    # Through JSON once: what is read back is what is summed (NumPy scalars, paths, tuples).
    plain = json.loads(files.as_json(content))
    files.write_json(path, plain | {SEAL: _sum(plain)})


def is_intact(content: Mapping[str, Any]) -> bool:
    """Whether the content of a JSON file is what it was sealed with."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    return content.get(SEAL) == _sum(rest)


def _sum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
