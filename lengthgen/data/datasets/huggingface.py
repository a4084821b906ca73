"""Hugging Face datasets, and local files through the same library.

The only file of lengthgen that imports `datasets`. Presets in configs/dataset/: wikitext2,
wikitext103 (Merity et al. 2016), pg19 (Rae et al. 2020), openwebtext (Gokaslan and Cohen 2019),
fineweb_edu (Penedo et al. 2024).
"""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen.config import paths
from lengthgen.config.dataclass_from import limit
from lengthgen.data import fields, hub
from lengthgen.data.datasets.base import (
    Dataset,
    Document,
    check_fraction,
    options_key,
    shown,
    split_of,
    utf8,
)
from lengthgen.errors import ConfigError, DataError

# As `path`: the library reads `data_files` itself.
LOCAL_KINDS = ("parquet", "json", "text", "csv", "arrow")
UNKNOWN_SPLIT = re.compile("(?i)(unknown|bad) split")  # how the library says so


@dataclass
class Config:
    # id on the hub (owner/name), a local folder, or parquet, json, text, csv, arrow with data_files
    path: str = "???"
    label: str | None = None  # name in tables and figures; null: the path's last part
    subset: str | None = None  # the configuration's name on the hub
    revision: str | None = None  # commit or tag on the hub; null: the newest
    data_files: Any = None  # file, glob, list, or mapping of split to these
    train_split: str = "train"  # the library's name of the split to train on
    # the same to evaluate on; null: a share of train_split, by hash
    validation_split: str | None = "validation"
    validation_fraction: float = 0.01  # that share
    text_key: str = "text"  # column that holds the text; data.text: a field of a field
    streaming: bool = False  # read over the network as needed, instead of downloading all first
    max_documents: int | None = None  # read at most so many documents of each split; null: all
    # stop reading a split after the document that reaches so many bytes; null: never
    max_bytes: int | None = None
    # rows are lines of WikiText: put articles together at their " = Title = " lines
    wikitext_articles: bool = False

    def __post_init__(self):
        check_fraction(self.validation_fraction)
        limit(self, "dataset", "> 0", "max_documents", "max_bytes")


class HuggingFace(Dataset):
    Config = Config

    @property
    def label(self) -> str:
        return self.config.label or self.config.path.rstrip("/").rsplit("/", 1)[-1]

    def documents(self, split: str) -> Iterator[Document]:
        config = self.config
        self.by_hash = config.validation_split is None
        from_train = self.by_hash or split == "train"
        for name, raw in self._read(config.train_split if from_train else config.validation_split):
            if not self.by_hash or split_of(name, config.validation_fraction) == split:
                if raw is None:
                    self.left_out[f"record without {config.text_key!r} (null)"] += 1
                else:
                    yield Document(name, raw)

    def key(self) -> str:
        return options_key(self.config, self._local_files())

    def _read(self, split: str) -> Iterator[tuple[str, bytes | None]]:
        """One of the library's splits, up to the limits: names, of split and running number, and
        texts; None for a null.
        """
        config, n_bytes, n_documents = self.config, 0, 0
        texts = self._texts(split)
        if config.wikitext_articles:
            texts = articles(text or "" for text in texts)
        for number, text in enumerate(texts):
            enough = config.max_bytes is not None and n_bytes >= config.max_bytes
            if enough or n_documents == config.max_documents:
                return
            raw = None
            if text is not None:
                # a user cannot edit hub texts, so a stray NUL or surrogate is replaced
                raw = utf8(text.encode("utf-8", "surrogatepass"), "replace", split)
                n_bytes, n_documents = n_bytes + len(raw), n_documents + 1
            yield f"{split}-{number:07d}", raw

    def _texts(self, split: str) -> Iterator[str | None]:
        config, path = self.config, self._path
        what = f"dataset {config.path}"
        # offline, the library looks into its cache alone and fails at once
        if path not in LOCAL_KINDS and not os.path.isdir(path) and not hub.offline():
            cached = "HF_HUB_OFFLINE=1 with a copy in the library's cache"
            hub.require(what, f"dataset=python, dataset=files, or {cached}")
        try:
            import datasets

            rows = datasets.load_dataset(
                path,
                config.subset,
                split=split,
                streaming=config.streaming,
                revision=config.revision,
                data_files=_mapped(_expanded, config.data_files),
            )
            for number, row in enumerate(rows):
                place = f"{what}, {split} row {number}"
                if number == 0:
                    fields.require(row, config.text_key, place)
                yield _text(row, config.text_key, place)
        except DataError:
            raise
        except ImportError as error:
            install = "pip install datasets"
            raise DataError(f"{what} needs the library `datasets`: {error}; {install}") from None
        except Exception as error:  # missing id, split or subset, network, damaged file, ...
            reason = hub.first_line(error)
            advice = self._other_splits(split) if UNKNOWN_SPLIT.search(reason) else ""
            raise DataError(f"{what} ({split}) cannot be read: {reason}{advice}") from None

    def _other_splits(self, split: str) -> str:
        """What to set where the library does not have `split`."""
        if split == self.config.train_split:
            return "; set dataset.train_split to one of these"
        share = f"a share of {self.config.train_split} (dataset.validation_fraction)"
        return f"; set dataset.validation_split to one of these, or to null for {share}"

    @property
    def _path(self) -> str:
        return _expanded(self.config.path)

    def _local_files(self) -> list[Path]:
        """The files on this machine that are read; none for a dataset of the hub."""
        path, data_files = self._path, _mapped(_expanded, self.config.data_files)
        if os.path.isdir(path):  # False where nothing can have that name
            return sorted(file for file in Path(path).rglob("*") if file.is_file())
        if path.startswith(("/", ".", "~")):
            raise DataError(
                f"dataset.path={shown(str(Path(path)))} is no folder; expected one, an id on the "
                f"hub (owner/name), or one of {', '.join(LOCAL_KINDS)} with "
                "dataset.data_files=FILE; or use dataset=files"
            )
        if path not in LOCAL_KINDS:
            return []
        patterns = list(_flat(data_files))
        names = [name for p in patterns for name in sorted(glob.glob(p, recursive=True))]
        if not names and not any("://" in pattern for pattern in patterns):
            raise DataError(
                f"dataset.path={path} with dataset.data_files={data_files}: no such file; "
                "expected a file or a glob"
            )
        for name in names:
            if not Path(name).is_file():
                raise DataError(
                    f"dataset.data_files={name} is no regular file; expected a file or a glob"
                )
        return [Path(name) for name in names]


def articles(lines: Iterable[str]) -> Iterator[str]:
    """WikiText's rows (one a line, "" where the line is blank) -> one text an article.

    An article begins at a line " = Title = " between blank lines, not at " = = Section = = ".
    """
    article: list[str] = []
    # `heading` is a line that may be a title: the next line shows whether it is one
    heading, blank = None, True
    for line in lines:
        line = line if line.strip() else " \n"
        if heading is not None:
            if not line.strip() and any(map(str.strip, article)):
                yield "".join(article)
                article = []
            article.append(heading)
            heading = None
        if blank and re.fullmatch("= (?!=).+ =", line.strip(), re.DOTALL):
            heading = line
        else:
            article.append(line)
        blank = not line.strip()
    if heading is not None:
        article.append(heading)
    if any(map(str.strip, article)):
        yield "".join(article)


def _text(row: dict[str, Any], key: str, place: str) -> str | None:
    """The text of a row; None for a null. Binary columns hold UTF-8."""
    value = fields.get(row, key)
    if isinstance(value, str):
        return value
    raw = fields.text_of(row, key, "replace", place)
    if raw is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: byte 0x{value[error.start]:02x} at offset {error.start} of {key!r} is not "
            "UTF-8 text: name a column of text with dataset.text_key=COLUMN"
        ) from None


def _expanded(path: str) -> str:
    """With the home folder for `~`: neither the library nor a glob knows it."""
    return str(paths.folder(path, "dataset.path")) if path.startswith("~") else path


def _mapped(change: Callable[[str], str], data_files: Any) -> Any:
    """`data_files` with every file or glob in it changed."""
    if isinstance(data_files, str):
        return change(data_files)
    if isinstance(data_files, dict):
        return {split: _mapped(change, each) for split, each in data_files.items()}
    if isinstance(data_files, list | tuple):
        return [_mapped(change, each) for each in data_files]
    if data_files is None:
        return None
    raise ConfigError(
        f"dataset.data_files={data_files}: expected a file, a glob, a list of these, or splits "
        "with these"
    )


def _flat(data_files: Any) -> Iterator[str]:
    if isinstance(data_files, str):
        yield data_files
    elif data_files is not None:
        for value in data_files.values() if isinstance(data_files, dict) else data_files:
            yield from _flat(value)
