"""Every write of the package: a file or folder appears whole or not at all, even on a power cut.

Content goes to a hidden file beside the target, is flushed to the disk, and is renamed into place:
a reader sees the old content or the new. Every OSError becomes one line with the path. Logs are
appended with one write on an O_APPEND descriptor: processes cannot tear each other's lines.
"""

import csv
import errno
import hashlib
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

from lengthgen.errors import DataError, DiskError

FLOAT_FORMAT = "%.10g"  # far below any loss's noise, and short enough for a committed table
SEAL = "seal"  # key of a sealed JSON file
NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
CANNOT_SYNC = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS)  # of folders on some disks


@contextmanager
def disk_errors(path: Path | str) -> Iterator[None]:
    """Turns every OSError of the block into a DiskError of one line that names `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise DiskError(
            f"cannot write {path}: {reason}{_free(Path(path))}; make room there or choose another "
            "folder (results=FOLDER, cache=FOLDER), then rerun the command"
        ) from error


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turns an OSError of the block into a DiskError that names `path`; a missing file's stays."""
    try:
        yield
    except NO_FILE:
        raise
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise DiskError(
            f"cannot read {path}: {reason}; make it readable, then rerun the command"
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

    keep: called if `path` exists by then; if true, that stays and the new folder is dropped.
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


def remove(path: Path) -> None:
    """Take a file away, if it is there. Raises DiskError."""
    with disk_errors(path):
        path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Take a folder away, as far as the disk lets one: under its own name never a half of it."""
    old = _hidden(path)
    with suppress(OSError):
        os.replace(path, old)
    _remove(old)


def remove_leftovers(path: Path, older_than: float = 0.0) -> None:
    """Remove what killed writers left beside `path`, a name or a pattern such as "step-*".

    older_than: seconds; a younger file may belong to a live writer, unless the caller holds a lock.
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
    write_bytes(path, _utf8(content))


def write_json(path: Path | str, content: Any) -> None:
    """Replace `path` by indented JSON. Takes NumPy scalars and paths; NaN is written as `NaN`."""
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    """The text that `write_json` writes."""
    return json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n"


def read_json(path: Path | str, default: Any = None) -> Any:
    """The content of a JSON file, or `default` if it is missing or broken. Raises DiskError.

    What the disk does not give is neither: a caller who took it for missing would write it anew.
    """
    try:
        return json.loads(read_text(path))
    except (*NO_FILE, ValueError):
        return default


def read_text(path: Path | str) -> str:
    """The content of a text file, UTF-8. Raises FileNotFoundError, UnicodeError and DiskError."""
    with reading(path):
        return Path(path).read_text(encoding="utf-8")


def sha256(path: Path | str) -> str:
    """Of a file's content, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sealed(path: Path | str, content: Mapping[str, Any]) -> None:
    """Replace `path` by JSON and its seal: the SHA-256 of its content, so that damage is found."""
    # Through JSON once: what is read back is what is summed (NumPy scalars, paths, tuples).
    plain = json.loads(as_json(content))
    write_json(path, plain | {SEAL: _sum(plain)})


def read_sealed(path: Path | str) -> dict[str, Any] | None:
    """The content without its seal; None without a file. DataError where it is damaged.

    A file from before there were seals is taken as it is.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error})") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged (it holds no keys)")
    seal = content.pop(SEAL, None)
    if seal is not None and seal != _sum(content):
        raise DataError(f"{path} is damaged (its content has changed since it was written)")
    return content


def _sum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_npz(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Replace `path` by named arrays, uncompressed. The same arrays give the same bytes."""
    # A zip seeks back and forth: it is made in memory, so that the file is written once.
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_bytes(path, content.getvalue())


def write_table(
    path: Path | str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    """Replace `path` by a CSV of `rows` with exactly these `columns`; None and NaN: empty cells.

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
    """Add one line to a log, in one write. It starts a new line after one that a crash tore.

    Several processes may write at once: no line is torn, but a blank one may stand between two.
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
    """The records of a log, without lines that a crash tore. Empty if there is no file.

    Raises DiskError.
    """
    try:
        with reading(path):
            lines = Path(path).read_bytes().splitlines()
    except NO_FILE:
        return []
    records = []
    for line in lines:
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                records.append(record)
    return records


def _into_place(temporary: Path, path: Path, keep: Callable[[], bool] = lambda: False) -> None:
    """Rename over whatever is at `path`. The one rename of the package."""
    # A file replaces a file in one step. A folder must be moved away first; another process that
    # writes the same folder may have put a new one there by then: try again.
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
    """A unique name beside `path` that no reader takes for content."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk. Not every file system can flush a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNC or not path.is_dir():
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
    return _utf8(json.dumps(record, ensure_ascii=False, default=_plain) + "\n")


def _utf8(text: str) -> bytes:
    """Text as UTF-8, names of files too that Python could not decode in the user's locale."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        pass
    try:
        raw = text.encode("utf-8", "surrogateescape")  # the bytes that the names have on the disk
        raw.decode("utf-8")
        return raw
    except UnicodeError:
        return text.encode("utf-8", "backslashreplace")


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
