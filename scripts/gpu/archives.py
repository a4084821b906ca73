"""What is worth keeping of FOLDER as few archives of limited size, each readable by itself.

part-1.tar.gz, part-2.tar.gz, ...: unpack all of them in one folder. A file is in one archive.
"""

import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path

LIMIT = 16 * 2**20 - 2**18  # bytes of one archive, a little less than 16 MiB
MOST = 8  # archives; more are made, and reported
# Not packed: what can be made again, and checkpoints (128 MB each for `small`).
LEFT_OUT = ("archives", "cache", "site", "text", "checkpoints", "weights", "figures", "merged")


def pack(folder: Path, archives: Path) -> list[Path]:
    """Write the archives of `folder` anew. Returns them."""
    archives.mkdir(parents=True, exist_ok=True)
    groups: list[list[Path]] = [[]]
    size = 0
    for path in wanted(folder):
        # Before compression, so that it is surely less after it; with tar's own 1 KiB.
        needed = path.stat().st_size + 1024
        if groups[-1] and size + needed > LIMIT:
            groups.append([])
            size = 0
        groups[-1].append(path)
        size += needed
    written = []
    for number, paths in enumerate(groups, 1):
        archive = archives / f"part-{number}.tar.gz"
        aside = archive.with_name(f".{archive.name}")
        # The same content is the same file: no time in gzip's header.
        with (
            open(aside, "wb") as file,
            gzip.GzipFile("", "wb", 6, file, mtime=0) as stream,
            tarfile.open(fileobj=stream, mode="w") as tar,
        ):
            for path in paths:
                tar.add(path, path.relative_to(folder).as_posix())
        aside.replace(archive)
        written.append(archive)
    for old in set(archives.glob("part-*.tar.gz")) - set(written):
        old.unlink()
    return written


def wanted(folder: Path) -> Iterator[Path]:
    """The files to pack: small records first, then run by run."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if not hidden and path.is_file() and not set(inside.parts[:-1]) & set(LEFT_OUT):
            yield path


def unpack(folder: Path) -> int:
    """Unpack every archive in `folder` or one folder below it into `folder`. Returns how many.

    ValueError for what `pack` does not make: a link, a name that leads out of the folder.
    """
    home = folder.resolve()
    found = sorted([*folder.glob("part-*.tar.gz"), *folder.glob("*/part-*.tar.gz")])
    for archive in found:
        with tarfile.open(archive) as tar:
            for member in tar:  # by hand: tarfile's own filter came with Python 3.11.4
                path = (home / member.name).resolve()
                content = tar.extractfile(member) if member.isreg() else None
                if content is None or not path.is_relative_to(home):
                    raise ValueError(f"{archive.name} holds what was not packed: {member.name}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())
    return len(found)
