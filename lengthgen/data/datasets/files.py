"""The user's own text: a file, a folder or a glob.

Plain text is one document a file; records (.jsonl, .parquet, .csv, ...) are one document each.
Records with a column `split` are divided by it, files in train/ and val/ or named so by that, and
everything else by a hash of the document's name; a single document is divided by position
(data/splits.py). Text is not changed: line ends stay and nothing is stripped.
"""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen.config.dataclass_from import choice
from lengthgen.data import fields, formats, split_names
from lengthgen.data.datasets.base import (
    Dataset,
    Document,
    check_fraction,
    options_key,
    shown,
    split_of,
)
from lengthgen.data.split_names import SPLIT_NAMES
from lengthgen.errors import DataError


@dataclass
class Config:
    # a file, a folder (searched through) or a glob of .txt .md .py ..., .jsonl, .json, .csv, .tsv,
    # .parquet, .arrow; text also as .gz .zst .bz2 .xz
    path: str = "???"
    # name in tables and figures; null: the path's last part without its ending
    label: str | None = None
    # column of a record that holds the text; data.text: a field of a field
    text_key: str = "text"
    # column with the document's unique name; null, or where missing: file and record number
    id_key: str | None = "id"
    # column with train, validation or test; where missing: by the names of folders and files
    # (train/ and val/), else by a hash of the name; null: by the hash
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

    @property
    def n_bytes(self) -> int | None:
        """Of plain text: what records hold, or a packed file, is known when it is read."""
        paths = [path for _, path in self._files()]
        if not all(path.suffix.lower() in formats.PLAIN for path in paths):
            return None
        try:
            return sum(path.stat().st_size for path in paths)
        except OSError:  # said when it is read
            return None

    def documents(self, split: str) -> Iterator[Document]:
        files = self._files()
        named = self._named_splits(files)
        self.by_hash = named is None
        for name, path in files:
            of_file = None if named is None else named[name]
            if named is not None and of_file is None:
                continue
            if formats.format_of(path) in formats.RECORDS:
                yield from self._from_records(name, path, split, of_file)
            elif (of_file or split_of(name, self.config.validation_fraction)) == split:
                yield Document(name, formats.read_text(path, self.config.errors))

    def key(self) -> str:
        files = self._files()
        named = self._named_splits(files)
        key = options_key(self.config, (path for _, path in files))
        # corpora divided by a hash keep the key that they had before names counted
        return key if named is None else f"{key} by the names of folders and files"

    def _files(self) -> list[tuple[str, Path]]:
        """(name, path), sorted; names are paths inside the folder or the glob's fixed part."""
        try:
            return self._listed(Path(self.config.path).expanduser())
        except DataError:
            raise
        except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, a NUL, ...
            reason = getattr(error, "strerror", None) or error
            if isinstance(error, UnicodeError):
                reason = "no name of a file in this locale, set PYTHONUTF8=1"
            raise DataError(
                f"dataset.path={shown(self.config.path)!r}: {reason}; expected a file, a folder or "
                "a glob"
            ) from None

    def _listed(self, where: Path) -> list[tuple[str, Path]]:
        place = f"dataset.path={where}"
        if where.is_file():
            if not formats.format_of(where):
                ending = where.suffix or "a file without an ending"
                raise DataError(f"{place}: cannot read {ending}; expected {formats.READ}")
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
            raise DataError(f"{place} {problem}; expected a file, folder or glob of {formats.READ}")
        files = [
            (path.relative_to(root).as_posix(), path)
            for path in paths
            if formats.format_of(path) and path.is_file()
        ]
        if not files:
            raise DataError(f"{place} holds no file of {formats.READ}; expected at least one")
        usual = [(name, path) for name, path in files if formats.is_usual(path)]
        if usual and len(usual) < len(files):
            endings = ", ".join(
                sorted({path.suffix.lower() for _, path in set(files) - set(usual)})
            )
            reason = (
                f"file of another format beside the text ({endings}); a glob of them reads them"
            )
            self.left_out[reason] = len(files) - len(usual)
        return sorted(usual or files)

    def _named_splits(self, files: list[tuple[str, Path]]) -> dict[str, str | None] | None:
        """Split by file where folders or files name them; None: nothing says so."""
        if self.config.split_key is None:
            return None
        found = split_names.of_files([n for n, _ in files], f"dataset.path={self.config.path}")
        if found is None:
            return None
        splits, remark = found
        self.remarks |= {remark} if remark else set()
        if left := sum(split is None for split in splits.values()):
            self.left_out["file of the test split or of none"] = left
        return splits

    def _from_records(
        self, name: str, path: Path, split: str, of_file: str | None
    ) -> Iterator[Document]:
        config = self.config
        names_splits = None  # whether this file's records name their split; unknown at first
        keys = tuple(key for key in (config.text_key, config.id_key, config.split_key) if key)
        for number, record in formats.read_records(path, config.errors, keys):
            place = f"{path}: record {number}"
            if names_splits is None:
                fields.require(record, config.text_key, place)
            stated = _given(record, config.split_key)
            if names_splits not in (None, stated is not None):
                raise DataError(
                    f"{place}: {config.split_key!r} stands in some records only; "
                    "mend them or set dataset.split_key=null"
                )
            names_splits = stated is not None
            document = _given(record, config.id_key)
            document = f"{name}:{number}" if document is None else str(document)
            by_hash = of_file or split_of(document, config.validation_fraction)
            if names_splits:
                self.by_hash = False
            if split == (_split(stated, place, config.split_key) if names_splits else by_hash):
                text = fields.text_of(record, config.text_key, config.errors, place)
                if text is None:
                    self.left_out[f"record without {config.text_key!r} (null)"] += 1
                else:
                    yield Document(document, text)


def _given(record: dict[str, Any], key: str | None) -> Any:
    """The value of an optional column; None where it is null or missing."""
    value = fields.get(record, key)
    return None if value is fields.MISSING else value


def _split(stated: Any, place: str, key: str) -> str | None:
    if not isinstance(stated, str) or stated not in SPLIT_NAMES:
        raise DataError(
            f"{place}: {key}={str(stated)[:40]!r}; "
            f"expected one of {', '.join(SPLIT_NAMES)}, or set dataset.split_key=null"
        )
    return SPLIT_NAMES[stated]
