"""Every write of the package: a file or a folder appears whole or not at all, and outlives a power cut.

What is written goes to a hidden neighbour first, is flushed to the disk, and is renamed into place: a reader
sees the old content or the new. A disk that refuses, for whatever reason, is one line with the path. Logs are
appended with one write on an O_APPEND descriptor, so that several processes cannot tear each other's lines.
Knows no torch and no pandas.
"""

import csv
import errno
import io
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from numbers import Integral, Real
from pathlib import Path
from typing import IO, Any

import numpy as np

from lengthgen.errors import DiskError

FLOAT_FORMAT = "%.10g"  # far below any loss's noise, and short enough for a committed table


@contextmanager
def disk_errors(path: Path | str) -> Iterator[None]:
    """Turns every OSError of the block into a DiskError of one line that names `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise DiskError(
            f"cannot write {path}: {reason}{_free(Path(path))}; make room there or choose another folder "
            "(results=FOLDER, cache=FOLDER), then run the same command again"
        ) from error


@contextmanager
def replacing(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends without an error.

    Otherwise nothing changes. Raises DiskError.
    """
    path = Path(path)
    temporary = _hidden(path)
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _into_place(temporary, path)
    finally:
        _remove(temporary)


@contextmanager
def replacing_folder(path: Path | str, keep: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """A new, empty folder that takes the place of `path` when the block ends without an error.

    keep: asked if there is something at `path` by then; if true, that stays and the new folder is dropped.
    Raises DiskError.
    """
    path = Path(path)
    temporary = _hidden(path)
    try:
        with disk_errors(path):
            temporary.mkdir(parents=True)
            yield temporary
            for inside in [*temporary.rglob("*"), temporary]:
                _sync(inside)
            _into_place(temporary, path, keep)
    finally:
        _remove(temporary)


def set_aside(path: Path, new_name: str) -> None:
    """Rename `path` within its folder, over whatever has that name. Raises DiskError."""
    with disk_errors(path):
        _into_place(path, path.with_name(new_name))


def make_folder(path: Path | str) -> Path:
    """The folder, made with its parents if it is missing. Raises DiskError."""
    with disk_errors(path):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def remove_leftovers(path: Path, older_than: float = 0.0) -> None:
    """Remove what killed writers of `path` left beside it: `path` is a name, or a pattern such as folder/"step-*".

    older_than: seconds; what is younger may belong to a writer that is alive, unless the caller holds a lock.
    """
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):  # another process may remove it at the same time
            if time.time() - leftover.lstat().st_mtime >= older_than:
                _remove(leftover)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Replace `path` by `content` in one step."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path | str, content: str) -> None:
    """Replace `path` by `content` (UTF-8, line ends as given) in one step."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path | str, content: Any) -> None:
    """Replace `path` by readable JSON. Understands NumPy scalars and paths; NaN stays as Python writes it."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n")


def read_json(path: Path | str, default: Any = None) -> Any:
    """The content of a JSON file, or `default` if it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


def write_npz(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Replace `path` by named arrays, uncompressed. The same arrays give the same bytes."""
    content = (
        io.BytesIO()
    )  # a zip seeks back and forth: in memory, so that the file is written once
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_bytes(path, content.getvalue())


def write_table(
    path: Path | str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    """Replace `path` by a CSV of `rows`. Each row has exactly `columns`; None and NaN become empty cells.

    ValueError names the columns that are missing or unknown.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        if row.keys() != set(columns):
            missing, unknown = sorted(set(columns) - row.keys()), sorted(row.keys() - set(columns))
            raise ValueError(
                f"a row of {Path(path).name} lacks {missing} and has unknown {unknown}; "
                f"expected {list(columns)}"
            )
        writer.writerow([_cell(row[column]) for column in columns])
    write_text(path, text.getvalue())


def write_jsonl(path: Path | str, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace a log by these records, one a line."""
    write_bytes(path, b"".join(map(_line, records)))


def append_jsonl(path: Path | str, record: Mapping[str, Any]) -> None:
    """Add one line to a log, in one write. A line that a crash tore stays alone: the new one starts its own.

    Several processes may write at once: no line is torn, at most a blank one is left between two.
    """
    line = _line(record)
    with disk_errors(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) != len(line):
                raise OSError("only a part of the line could be written; the disk is probably full")
        finally:
            os.close(descriptor)


def read_jsonl(path: Path | str) -> list[dict[str, Any]]:
    """The records of a log, in order; lines torn by a crash are left out. Empty if there is no file."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                records.append(record)
    return records


def _into_place(temporary: Path, path: Path, keep: Callable[[], bool] = lambda: False) -> None:
    """Rename over whatever is at `path`. The one rename of the package.

    A file goes over a file in one step. A folder that is there is moved out of the way first, and may be there
    again by the next try, because another process writes it too.
    """
    for _ in range(10):
        try:
            os.replace(temporary, path)
            return _sync(path.parent)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
                raise
        if keep():
            return None
        old = _hidden(path)
        with suppress(FileNotFoundError):
            os.replace(path, old)
        _remove(old)
    raise OSError(errno.EBUSY, "it keeps being replaced by other processes")


def _hidden(path: Path) -> Path:
    """A name beside `path` that nobody else uses, and that no reader takes for content."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file or a folder to the disk. Some file systems cannot flush a folder; a rename is atomic there too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _free(path: Path) -> str:
    """` (12 MB free)`, of the disk that holds `path`; "" where nobody knows."""
    try:
        there = next(folder for folder in path.absolute().parents if folder.is_dir())
        return f" ({shutil.disk_usage(there).free // 2**20} MB free)"
    except (OSError, StopIteration):
        return ""


def _line(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, ensure_ascii=False, default=_plain) + "\n").encode("utf-8")


def _cell(value: Any) -> Any:
    if value is None or value != value:
        return ""
    if isinstance(value, Integral | bool | str):
        return value
    return FLOAT_FORMAT % value if isinstance(value, Real) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
