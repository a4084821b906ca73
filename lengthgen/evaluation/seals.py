"""Sealed folders: the SHA-256 of every file, so that a changed, cut or missing one is found.

A folder is sealed by its manifest.json: what it is of, and the sum of each file; files.write_sealed
seals the manifest itself. Against damage, not against forgery: nothing is signed.
"""

from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from lengthgen import files
from lengthgen.errors import DataError

MANIFEST = "manifest.json"


def seal(folder: Path, of: str) -> None:
    """Write manifest.json over all files of `folder`, without those of its subfolders.

    of: whose folder it is, such as RUN/EVALUATION: a copy under another name is found.
    """
    names = sorted(path.name for path in folder.glob("[!.]*") if path.is_file())
    content = {"of": of, "sha256": sums(folder, (name for name in names if name != MANIFEST))}
    files.write_sealed(folder / MANIFEST, content)


def is_sealed(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def faults(folder: Path, of: str, names: Container[str] | None = None) -> list[str]:
    """What differs from the manifest, each in a few words. Files that it does not list are free.

    names: the files that matter; None: all. Empty where there is no manifest: earlier versions
    wrote none.
    """
    if not is_sealed(folder):
        return []
    try:
        manifest = files.read_sealed(folder / MANIFEST) or {}
        owner, expected = manifest["of"], manifest["sha256"]
    except (DataError, KeyError):
        return [f"{MANIFEST} is damaged"]
    if names is not None:
        expected = {name: each for name, each in expected.items() if name in names}
    return ([f"it is of {owner}"] if owner != of else []) + differing(folder, expected)


def sums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name -> SHA-256 of a file. Raises DiskError."""
    found = {}
    for name in names:
        with files.reading(folder / name):
            found[name] = files.sha256(folder / name)
    return found


def differing(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """`lengths.csv is missing`, `losses.npz is damaged`: files without the expected sum."""
    found = []
    for name, expected_sum in expected.items():
        try:
            if files.sha256(folder / name) != expected_sum:
                found.append(f"{name} is damaged")
        except FileNotFoundError:
            found.append(f"{name} is missing")
        except (OSError, ValueError) as error:
            found.append(f"{name} cannot be read ({error})")
    return found
