"""Files of text, by their endings: whole texts, or records whose fields hold text.

Texts (.txt, ...) and records of lines (.jsonl, .json, .csv, .tsv) may be compressed (.gz, .zst,
.bz2, .xz). Parquet and Arrow files hold records and compress themselves.
Every fault is a DataError of one line.
"""

import csv
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lengthgen.data import fields, text_files
from lengthgen.data.text_files import COMPRESSED
from lengthgen.errors import DataError

PLAIN = (".txt", ".text", ".md", ".rst", ".tex", ".py", ".raw", ".tokens")
RECORDS = (".jsonl", ".ndjson", ".parquet", ".json", ".csv", ".tsv", ".arrow", ".feather")
# Where a folder has files of these, others in it are no text of the corpus (metadata.csv).
USUAL = (*PLAIN, ".jsonl", ".ndjson", ".parquet")
READ = f"{' '.join(PLAIN + RECORDS)}, all but Parquet and Arrow also with {' '.join(COMPRESSED)}"
WHOLE = (".parquet", ".arrow", ".feather")  # which compress themselves
Record = dict[str, Any]
Records = Iterator[tuple[int, Record]]  # number, from 1, and the record


def format_of(path: Path) -> str:
    """`.jsonl` of a.jsonl and of A.JSONL.gz; "" where it cannot be read."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    compressed = bool(endings) and endings[-1] in COMPRESSED
    kind = "".join(endings[-2:-1] if compressed else endings[-1:])
    readable = kind in PLAIN + RECORDS and not (compressed and kind in WHOLE)
    return kind if readable else ""


def is_usual(path: Path) -> bool:
    return path.suffix.lower() in USUAL


def read_text(path: Path, errors: str) -> bytes:
    """A text as valid UTF-8. errors: of `utf8`."""
    with _faults(path):
        return text_files.read(path, errors)


def read_records(path: Path, errors: str, keys: tuple[str, ...]) -> Records:
    """The records of a file, at least those of their fields that `keys` name.

    errors: of `utf8`, for files that are text.
    """
    kind = format_of(path)
    with _faults(path):
        if kind == ".parquet":
            yield from _parquet(path, keys)
        elif kind in WHOLE:
            yield from _arrow(path, keys)
        elif kind in (".csv", ".tsv"):
            yield from _csv(path, errors, "," if kind == ".csv" else "\t")
        elif kind == ".json":
            yield from _json(path, errors)
        else:
            yield from _jsonl(path, errors)


_DAMAGED = (OSError, ValueError, EOFError, csv.Error, zlib.error, lzma.LZMAError)


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """What libraries say of a damaged file, as one line."""
    try:
        yield
    except Exception as error:
        # pyarrow's kinds are not imported for a text
        if (
            not isinstance(error, _DAMAGED)
            and type(error).__module__.partition(".")[0] != "pyarrow"
        ):
            raise
        reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "damaged")
        kind = {".parquet": " as Parquet", ".arrow": " as Arrow", ".feather": " as Arrow"}
        how = kind.get(format_of(path), "")
        raise DataError(f"cannot read {path}{how}: {reason}") from None


def _jsonl(path: Path, errors: str) -> Records:
    for number, line in enumerate(text_files.lines(path, errors), 1):
        if line.strip():
            place = f"{path}: line {number}"
            yield number, _object(_parsed(line, place, "one object a line"), place)


def _json(path: Path, errors: str) -> Records:
    """A list of objects, one object, or one a line."""
    text = text_files.read(path, errors).removeprefix(text_files.BOM)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # after the first object: one a line
            yield from _jsonl(path, errors)
            return
    except (ValueError, RecursionError):
        pass
    else:
        for number, value in enumerate(content if isinstance(content, list) else [content], 1):
            yield number, _object(value, f"{path}: record {number}")
        return
    _parsed(text, str(path), "a list of objects, or one object a line")


def _parsed(text: bytes, place: str, expected: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON ({error}); expected {expected}") from None


def _object(value: Any, place: str) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"{place} is a JSON {type(value).__name__}; expected one object a line")
    return value


def _csv(path: Path, errors: str, delimiter: str) -> Records:
    csv.field_size_limit(2**31 - 1)  # a document is one cell; the default is 131,072
    texts = (line.decode() for line in text_files.lines(path, errors))
    rows = csv.reader(texts, delimiter=delimiter, strict=True)
    header = next(rows, [])
    for number, row in enumerate(filter(None, rows), 1):
        if len(row) != len(header):
            raise DataError(
                f"{path}: row {number} has {len(row)} cells, the first line has {len(header)} "
                'names; expected as many: put text with commas or line ends in "..."'
            )
        yield number, dict(zip(header, row, strict=True))


def _arrow(path: Path, keys: tuple[str, ...]) -> Records:
    import pyarrow.ipc

    with pyarrow.memory_map(str(path)) as file:
        try:
            reader = pyarrow.ipc.open_file(file)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        except pyarrow.ArrowInvalid:
            file.seek(0)
            reader = pyarrow.ipc.open_stream(file)
            batches = iter(reader)
        yield from _rows(batches, _wanted(reader.schema.names, keys, path))


def _parquet(path: Path, keys: tuple[str, ...]) -> Records:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        wanted = _wanted(file.schema_arrow.names, keys, path)
        # small batches: documents can be long, and only one batch is in memory
        yield from _rows(file.iter_batches(batch_size=16, columns=wanted), wanted)


def _wanted(names: list[str], keys: tuple[str, ...], path: Path) -> list[str]:
    """The columns that hold the fields. DataError where none holds the first."""
    wanted = [n for n in names if any(key == n or key.startswith(f"{n}.") for key in keys)]
    if not any(keys[0] == n or keys[0].startswith(f"{n}.") for n in wanted):
        raise DataError(fields.no_column(str(path), keys[0], ", ".join(names)))
    return wanted


def _rows(batches: Iterable[Any], wanted: list[str]) -> Records:
    number = 0
    for batch in batches:
        chosen = batch.select(wanted)
        chosen.validate(full=True)  # unchecked, a damaged offset ends the process
        for first in range(0, chosen.num_rows, 16):  # few at a time become Python's objects
            for record in chosen.slice(first, 16).to_pylist():
                number += 1
                yield number, record
