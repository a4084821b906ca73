"""What a power cut may leave on the disk: python -m tests.crash_images --every 1 [WHAT ...]

file_faults.c records what a piece of work changes on the disk. At every point of that record the
power may go, and the disk then holds less than was asked of it: contents are safe once the file was
flushed, a name once its folder was. From each point several disks are made (WAYS), and on each of
them everything that carries a final name has to be whole: old or new, never a half. From every N-th
the same commands have to end with the bytes that they leave when nothing ever failed.

Linux, with a C compiler.
"""

import argparse
import shutil
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import file_faults

PAGE = 4096
# What is left of contents that were not flushed, and whether names that were not flushed are there.
WAYS = {
    "all": ("all", True),
    "no contents": ("none", True),
    "zeros": ("zeros", True),
    "half of the contents": ("half", True),
    "no names": ("all", False),
    "neither": ("none", False),
}


@dataclass
class File:
    content: bytes = b""
    flushed: bytes = b""

    def left(self, how: str) -> bytes:
        if how == "all" or self.content == self.flushed:
            return self.content
        if how == "none":
            return self.flushed
        same = 0
        while same < min(len(self.content), len(self.flushed)) and (
            self.content[same] == self.flushed[same]
        ):
            same += 1
        if how == "zeros":
            return self.content[:same] + bytes(len(self.content) - same)
        rest = (len(self.content) - same) // 2
        torn = same + (rest // PAGE * PAGE if rest > PAGE else rest)
        return self.content[:torn]


@dataclass
class Folder:
    names: dict[str, "File | Folder"] = field(default_factory=dict)
    flushed: dict[str, "File | Folder"] = field(default_factory=dict)


class Disk:
    """The files below `root`, as they are and as far as they are flushed."""

    def __init__(self, root: Path):
        self.root, self.top = root, _read(root)

    def at(self, path: str) -> "tuple[Folder, str]":
        """(its folder, its name)"""
        *parents, name = Path(path).relative_to(self.root).parts
        folder = self.top
        for parent in parents:
            inner = folder.names[parent]
            assert isinstance(inner, Folder)
            folder = inner
        return folder, name

    def change(self, kind: str, path: str, offset: int, data: bytes) -> None:
        if Path(path) == self.root:
            self.top.flushed = dict(self.top.names)
            return
        folder, name = self.at(path)
        there = folder.names.get(name)
        if kind == "c":  # opened to write; offset 2: emptied
            if there is None:
                folder.names[name] = File()
            elif offset == 2 and isinstance(there, File):
                there.content = b""
        elif kind == "d":
            folder.names[name] = Folder()
        elif kind == "w" and isinstance(there, File):
            before = there.content[:offset].ljust(offset, b"\0")
            there.content = before + data + there.content[offset + len(data) :]
        elif kind == "s" and isinstance(there, File):
            there.flushed = there.content
        elif kind == "s" and isinstance(there, Folder):
            there.flushed = dict(there.names)
        elif kind == "u":
            del folder.names[name]
        elif kind == "r":
            target, new = self.at(data.decode())
            target.names[new] = folder.names.pop(name)

    def leave(self, way: str, folder: Path) -> None:
        """Write what a power cut now leaves."""
        how, names = WAYS[way]
        _write(self.top, folder, how, names)


def _read(path: Path) -> Folder:
    found: dict[str, File | Folder] = {}
    for each in path.iterdir():
        content = each.read_bytes() if each.is_file() else b""
        found[each.name] = _read(each) if each.is_dir() else File(content, content)
    return Folder(found, dict(found))


def _write(folder: Folder, path: Path, how: str, names: bool) -> None:
    path.mkdir(parents=True)
    for name, each in (folder.names if names else folder.flushed).items():
        if isinstance(each, Folder):
            _write(each, path / name, how, names)
        else:
            (path / name).write_bytes(each.left(how))


def changes(record: Path) -> Iterator[tuple[str, str, int, bytes]]:
    """(kind, path, offset, data) of every change, in order."""
    content, at = record.read_bytes(), 0
    while at < len(content):
        kind, of_path, of_data, offset = struct.unpack_from("4l", content, at)
        at += 32
        path = content[at : at + of_path].decode()
        at += of_path
        yield chr(kind), path, offset, content[at : at + of_data]
        at += of_data


def halves(folder: Path) -> list[str]:
    """Everything that carries a final name and is not whole."""
    from lengthgen import files
    from lengthgen.evaluation import records, seals
    from lengthgen.training import checkpoint

    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.name.startswith("step-") and path.is_dir():
            if fault := checkpoint._fault(path, ""):
                found.append(f"{name}: {fault}")
        elif path.suffix == ".json" and path.is_file() and files.read_json(path) is None:
            found.append(f"{name} is no JSON")
        elif path.suffix in (".csv", ".png", ".svg", ".md", ".yaml") and not path.stat().st_size:
            found.append(f"{name} is empty")
        elif path.parent.name == "evaluation":
            if not seals.is_sealed(path):
                found.append(f"{name} has no manifest")
            owner = records.evaluation_seal(path.parent.parent.name, path.name)
            found += [f"{name}: {each}" for each in seals.faults(path, owner)]
        elif path.name == "done.json" and not records.read_done(path.parent):
            found.append(f"{name} is damaged")
    return found


@dataclass
class Found:
    what: str
    points: int
    images: Counter[str]
    reruns: int
    problems: list[str]

    def __str__(self) -> str:
        ways = ", ".join(f"{n} {way}" for way, n in self.images.items())
        return (
            f"{self.what}: {self.points} changes; {self.images.total()} disks ({ways}), "
            f"{self.reruns} of them gone on from; {len(self.problems)} problems"
        )


def found(served: file_faults.Server, root: Path, what: str, every: int, rerun: int) -> Found:
    """The disks after every `every`-th change; from every `rerun`-th of them the work is redone."""
    here, start, record = root / "work", root / "start", root / "record"
    for folder in (here, start):
        shutil.rmtree(folder, ignore_errors=True)
    file_faults.write_inputs(here)
    for before in file_faults.BEFORE[what]:
        assert served.work(here, before)["code"] == 0
    shutil.copytree(here, start)
    disk = Disk(here)
    assert served.work(here, what, record=record)["code"] == 0
    expected = file_faults.outcome(here)
    made = Found(what, 0, Counter(), 0, [])
    for point, change in enumerate(changes(record), start=1):
        disk.change(*change)
        made.points = point
        if point % every:
            continue
        for way in WAYS:
            shutil.rmtree(here)
            disk.leave(way, here)
            words = f"{what}, power cut after change {point} ({change[0]} {change[1]}), {way}"
            made.images[way] += 1
            made.problems += [f"{words}: {half}" for half in halves(here)]
            if made.images.total() % rerun:
                continue
            made.reruns += 1
            again = served.work(here, what)
            if again["code"]:
                made.problems.append(
                    f"{words}, again: exit {again['code']}: {again['said'][-800:]}"
                )
            elif file_faults.outcome(here) != expected:
                made.problems.append(f"{words}, again: other bytes")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description="What a power cut may leave on the disk.")
    parser.add_argument("what", nargs="*", default=list(file_faults.BEFORE), metavar="WHAT")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--rerun", type=int, default=20, metavar="N")
    options = parser.parse_args()
    problems = 0
    with tempfile.TemporaryDirectory() as folder, file_faults.server(Path(folder)) as served:
        for what in options.what:
            made = found(served, Path(folder), what, options.every, options.rerun)
            print(made, *made.problems, sep="\n  ", flush=True)
            problems += len(made.problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
