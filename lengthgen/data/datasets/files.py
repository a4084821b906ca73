"""The user's own text: a file, a folder or a glob of plain text (one document a file), .jsonl and .parquet (one a record).

Records with a column `split` are divided by it, everything else by a stable hash of the document's name. Text is taken
as it stands: no change of line ends, no stripping.
"""

import glob
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen.config.dataclass_from import check, choice
from lengthgen.data.datasets.base import Dataset, Document, options_key, read, split_of, utf8
from lengthgen.errors import DataError

PLAIN = (".txt", ".text", ".md", ".rst", ".tex", ".py", ".raw", ".tokens")
RECORDS = (".jsonl", ".ndjson", ".parquet")
SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": None,
}


@dataclass
class Config:
    # a file, a folder (searched through) or a glob of .txt .text .md .rst .tex .py .raw .tokens
    # .jsonl .ndjson .parquet
    path: str = "???"
    label: str | None = (
        None  # name in tables and figures; null: the path's last part without its ending
    )
    text_key: str = "text"  # column of a record (.jsonl, .parquet) that holds the text
    id_key: str | None = (
        "id"  # column with the document's unique name; where a record has none, or null: file and record number
    )
    split_key: str | None = (
        "split"  # column with train, validation or test; where a file has none, or null: hash of the name
    )
    validation_fraction: float = 0.1  # share of the documents that the hash puts into validation
    errors: str = (
        "strict"  # text that is not UTF-8: strict (an error with its offset) or replace (by U+FFFD)
    )

    def __post_init__(self):
        check(
            0 < self.validation_fraction < 1,
            f"dataset.validation_fraction={self.validation_fraction}: expected between 0 and 1",
        )
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
        """(name, path) sorted by name; the name is the path inside the folder, or inside the glob's fixed part."""
        given = Path(self.config.path).expanduser()
        readable = ", ".join(PLAIN + RECORDS)
        if given.is_file():
            if given.suffix.lower() not in PLAIN + RECORDS:
                raise DataError(
                    f"dataset.path={given}: cannot read {given.suffix or 'a file without an ending'}; expected {readable}"
                )
            return [(given.name, given)]
        if given.is_dir():
            root, found = given, given.rglob("*")
        elif glob.has_magic(str(given)):
            parts = given.parts
            root = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
            found = map(Path, glob.glob(str(given), recursive=True))
        elif given.exists():
            raise DataError(
                f"dataset.path={given} is no regular file and no folder; expected one of these or a glob of {readable}"
            )
        else:
            raise DataError(
                f"dataset.path={given} does not exist (seen from {Path.cwd()}); expected a file, folder or glob of {readable}"
            )
        files = [
            (path.relative_to(root).as_posix(), path)
            for path in found
            if path.suffix.lower() in PLAIN + RECORDS and path.is_file()
        ]
        if not files:
            raise DataError(
                f"dataset.path={given} holds no file of {readable}; expected at least one"
            )
        return sorted(files)

    def _from_records(self, name: str, path: Path, split: str) -> Iterator[Document]:
        config = self.config
        read_records = _parquet if path.suffix.lower() == ".parquet" else _jsonl
        divided = None  # does this file name its splits? All records or none
        for number, record in read_records(path, config):
            place = f"{path}: record {number}"
            given = record.get(config.split_key) if config.split_key else None
            if divided not in (None, given is not None):
                raise DataError(
                    f"{place}: {config.split_key!r} stands in some records only; mend them or set dataset.split_key=null"
                )
            divided = given is not None
            document = record.get(config.id_key) if config.id_key else None
            document = f"{name}:{number}" if document is None else str(document)
            belongs = (
                _split(given, place, config.split_key)
                if divided
                else split_of(document, config.validation_fraction)
            )
            if belongs == split:
                yield Document(document, _text(record, config, place))


def _split(given: Any, place: str, key: str) -> str | None:
    if not isinstance(given, str) or given not in SPLIT_NAMES:
        raise DataError(
            f"{place}: {key}={str(given)[:40]!r}; expected one of {', '.join(SPLIT_NAMES)}, or set dataset.split_key=null"
        )
    return SPLIT_NAMES[given]


def _text(record: dict[str, Any], config: Config, place: str) -> bytes:
    text = record.get(config.text_key)
    if isinstance(text, bytes):
        return utf8(text, config.errors, place)
    if not isinstance(text, str):
        found = ", ".join(map(str, record)) or "nothing"
        raise DataError(
            f"{place}: {config.text_key!r} holds {type(text).__name__}, expected text; the record has {found}: set dataset.text_key=COLUMN"
        )
    # surrogatepass: JSON can spell lone surrogates, which then are found by their offset
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
                    f"{path} has no column {config.text_key!r}; it has {', '.join(present)}: set dataset.text_key=COLUMN"
                )
            columns = [
                key for key in (config.text_key, config.id_key, config.split_key) if key in present
            ]
            number = 0
            for batch in file.iter_batches(batch_size=16, columns=columns):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(
            f"cannot read {path} as Parquet: {(str(error).splitlines() or ['damaged'])[0]}"
        ) from None
