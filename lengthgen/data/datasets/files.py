"""The user's own text: a file, a folder or a glob.

Plain text is one document a file; .jsonl and .parquet are one document a record. Records with a
column `split` are divided by it, everything else by a hash of the document's name. Text is not
changed: line ends stay and nothing is stripped.
"""

import glob
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen.config.dataclass_from import choice
from lengthgen.data.datasets.base import (
    Dataset,
    Document,
    check_fraction,
    options_key,
    read,
    split_of,
    utf8,
)
from lengthgen.errors import DataError

PLAIN = (".txt", ".text", ".md", ".rst", ".tex", ".py", ".raw", ".tokens")
RECORDS = (".jsonl", ".ndjson", ".parquet")
READABLE = PLAIN + RECORDS
SPLIT_NAMES = {
    "train": "train",
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    "test": None,  # left out
}


@dataclass
class Config:
    # a file, a folder (searched through) or a glob
    # of .txt .text .md .rst .tex .py .raw .tokens .jsonl .ndjson .parquet
    path: str = "???"
    # name in tables and figures; null: the path's last part without its ending
    label: str | None = None
    text_key: str = "text"  # column of a record (.jsonl, .parquet) that holds the text
    # column with the document's unique name; null, or where missing: file and record number
    id_key: str | None = "id"
    # column with train, validation or test; null, or where missing: by a hash of the name
    split_key: str | None = "split"
    validation_fraction: float = 0.1  # share of the documents that the hash puts into validation
    errors: str = "strict"  # not UTF-8: strict (an error with its offset) or replace (by U+FFFD)

    def __post_init__(self):
        check_fraction(self.validation_fraction)
        choice("dataset.errors", self.errors, ("strict", "replace"))


class Files(Dataset):
    Config = Config

    @property
    def label(self) -> str:
        return self.config.label or Path(self.config.path.rstrip("*/.")).stem or "files"

    def documents(self, split: str) -> Iterator[Document]:
        for name, path in self._files():
            if path.suffix.lower() in RECORDS:
                yield from self._from_records(name, path, split)
            elif split_of(name, self.config.validation_fraction) == split:
                yield Document(name, utf8(read(path), self.config.errors, str(path)))

    def key(self) -> str:
        return options_key(self.config, (path for _, path in self._files()))

    def _files(self) -> list[tuple[str, Path]]:
        """(name, path), sorted; names are paths inside the folder or the glob's fixed part."""
        where = Path(self.config.path).expanduser()
        place, readable = f"dataset.path={where}", ", ".join(READABLE)
        if where.is_file():
            if where.suffix.lower() not in READABLE:
                ending = where.suffix or "a file without an ending"
                raise DataError(f"{place}: cannot read {ending}; expected {readable}")
            return [(where.name, where)]
        if where.is_dir():
            root, paths = where, list(where.rglob("*"))
        elif glob.has_magic(str(where)):
            fixed = next(i for i, part in enumerate(where.parts) if glob.has_magic(part))
            root = Path(*where.parts[:fixed])
            paths = [Path(name) for name in glob.glob(str(where), recursive=True)]
        else:
            missing = f"does not exist (seen from {Path.cwd()})"
            problem = "is no regular file and no folder" if where.exists() else missing
            raise DataError(f"{place} {problem}; expected a file, folder or glob of {readable}")
        files = [
            (path.relative_to(root).as_posix(), path)
            for path in paths
            if path.suffix.lower() in READABLE and path.is_file()
        ]
        if not files:
            raise DataError(f"{place} holds no file of {readable}; expected at least one")
        return sorted(files)

    def _from_records(self, name: str, path: Path, split: str) -> Iterator[Document]:
        config = self.config
        read_records = _parquet if path.suffix.lower() == ".parquet" else _jsonl
        names_splits = None  # whether this file's records name their split; unknown at first
        for number, record in read_records(path, config):
            place = f"{path}: record {number}"
            stated = record.get(config.split_key) if config.split_key else None
            if names_splits not in (None, stated is not None):
                raise DataError(
                    f"{place}: {config.split_key!r} stands in some records only; "
                    "mend them or set dataset.split_key=null"
                )
            names_splits = stated is not None
            document = record.get(config.id_key) if config.id_key else None
            document = f"{name}:{number}" if document is None else str(document)
            by_hash = split_of(document, config.validation_fraction)
            if split == (_split(stated, place, config.split_key) if names_splits else by_hash):
                yield Document(document, _text(record, config, place))


def _split(stated: Any, place: str, key: str) -> str | None:
    if not isinstance(stated, str) or stated not in SPLIT_NAMES:
        raise DataError(
            f"{place}: {key}={str(stated)[:40]!r}; "
            f"expected one of {', '.join(SPLIT_NAMES)}, or set dataset.split_key=null"
        )
    return SPLIT_NAMES[stated]


def _text(record: dict[str, Any], config: Config, place: str) -> bytes:
    text = record.get(config.text_key)
    if isinstance(text, bytes):
        return utf8(text, config.errors, place)
    if not isinstance(text, str):
        columns = ", ".join(map(str, record)) or "nothing"
        raise DataError(
            f"{place}: {config.text_key!r} holds {type(text).__name__}, expected text; "
            f"the record has {columns}: set dataset.text_key=COLUMN"
        )
    # JSON can spell lone surrogates: surrogatepass lets utf8() report them by their offset
    return utf8(text.encode("utf-8", "surrogatepass"), config.errors, place)


def _jsonl(path: Path, config: Config) -> Iterator[tuple[int, dict[str, Any]]]:
    start = 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    text = utf8(line, config.errors, str(path), start)
                    yield number, _object(text, f"{path}: line {number}")
                start += len(line)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON ({error}); expected one object a line") from None
    if not isinstance(record, dict):
        raise DataError(f"{place} is a JSON {type(record).__name__}; expected one object a line")
    return record


def _parquet(path: Path, config: Config) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            present = file.schema_arrow.names
            if config.text_key not in present:
                raise DataError(
                    f"{path} has no column {config.text_key!r}; it has {', '.join(present)}: "
                    "set dataset.text_key=COLUMN"
                )
            wanted = (config.text_key, config.id_key, config.split_key)
            columns = [key for key in wanted if key in present]
            # small batches: documents can be long, and only one batch is in memory
            batches = file.iter_batches(batch_size=16, columns=columns)
            yield from enumerate((record for b in batches for record in b.to_pylist()), 1)
    except (OSError, pyarrow.ArrowException) as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise DataError(f"cannot read {path} as Parquet: {reason}") from None
