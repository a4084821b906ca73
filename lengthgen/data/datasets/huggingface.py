"""Hugging Face datasets, and local files through the same library.

The only file of lengthgen that imports `datasets`. Presets in configs/dataset/: wikitext2,
wikitext103 (Merity et al. 2016), pg19 (Rae et al. 2020), openwebtext (Gokaslan and Cohen 2019),
fineweb_edu (Penedo et al. 2024).
"""

import glob
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen.config.dataclass_from import limit
from lengthgen.data import hub
from lengthgen.data.datasets.base import (
    Dataset,
    Document,
    check_fraction,
    options_key,
    split_of,
    utf8,
)
from lengthgen.errors import DataError

# As `path`: the library reads `data_files` itself.
LOCAL_KINDS = ("parquet", "json", "text", "csv", "arrow")


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
    text_key: str = "text"  # column that holds the text
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
        by_hash = config.validation_split is None
        theirs = config.train_split if by_hash or split == "train" else config.validation_split
        for document in self._read(theirs):
            if not by_hash or split_of(document.name, config.validation_fraction) == split:
                yield document

    def key(self) -> str:
        return options_key(self.config, self._local_files())

    def _read(self, split: str) -> Iterator[Document]:
        """One of the library's splits, up to the limits. Names are split and running number."""
        config, n_bytes = self.config, 0
        texts = self._texts(split)
        for number, text in enumerate(articles(texts) if config.wikitext_articles else texts):
            enough = config.max_bytes is not None and n_bytes >= config.max_bytes
            if enough or number == config.max_documents:
                return
            # a user cannot edit hub texts, so a stray NUL or surrogate is replaced
            raw = utf8(text.encode("utf-8", "surrogatepass"), "replace", split)
            n_bytes += len(raw)
            yield Document(f"{split}-{number:07d}", raw)

    def _texts(self, split: str) -> Iterator[str]:
        config, path = self.config, self.config.path
        what = f"dataset {path}"
        # offline, the library looks into its cache alone and fails at once
        if path not in LOCAL_KINDS and not Path(path).is_dir() and not hub.offline():
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
                data_files=config.data_files,
            )
            for number, row in enumerate(rows):
                if not isinstance(row.get(config.text_key), str):
                    raise DataError(
                        f"{what}, {split} row {number}: no text under {config.text_key!r}; "
                        f"it has {', '.join(row)}: set dataset.text_key=COLUMN"
                    )
                yield row[config.text_key]
        except DataError:
            raise
        except ImportError as error:
            install = "pip install datasets"
            raise DataError(f"{what} needs the library `datasets`: {error}; {install}") from None
        except Exception as error:  # missing id, split or subset, network, damaged file, ...
            reason = hub.first_line(error)
            raise DataError(f"{what} ({split}) cannot be read: {reason}") from None

    def _local_files(self) -> list[Path]:
        """The files on this machine that are read; none for a dataset of the hub."""
        path, data_files = self.config.path, self.config.data_files
        if (folder := Path(path)).is_dir():
            return sorted(file for file in folder.rglob("*") if file.is_file())
        if path.startswith(("/", ".", "~")):
            raise DataError(
                f"dataset.path={folder} is no folder; expected one, an id on the hub (owner/name), "
                f"or one of {', '.join(LOCAL_KINDS)}"
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


def _flat(data_files: Any) -> Iterator[str]:
    if isinstance(data_files, str):
        yield data_files
    elif data_files is not None:
        for value in data_files.values() if isinstance(data_files, dict) else data_files:
            yield from _flat(value)
