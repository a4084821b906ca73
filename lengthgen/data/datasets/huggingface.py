"""Hugging Face datasets, and local files through the same library. The only file of lengthgen that imports `datasets`.

Presets in configs/dataset/: wikitext2, wikitext103 (Merity et al. 2016), pg19 (Rae et al. 2020), openwebtext (Gokaslan and
Cohen 2019), fineweb_edu (Penedo et al. 2024). A dataset without a validation split is divided by a hash of the row number.
"""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen.config.dataclass_from import check
from lengthgen.data import hub
from lengthgen.data.datasets.base import Dataset, Document, options_key, split_of, utf8
from lengthgen.errors import DataError

LOCAL_KINDS = (
    "parquet",
    "json",
    "text",
    "csv",
    "arrow",
)  # as `path`: the library reads `data_files` itself


@dataclass
class Config:
    path: str = "???"  # id on the hub (owner/name), a local folder, or parquet, json, text, csv, arrow with data_files
    label: str | None = None  # name in tables and figures; null: the path's last part
    subset: str | None = None  # the configuration's name on the hub
    revision: str | None = None  # commit or tag on the hub; null: the newest
    data_files: Any = None  # file, glob, list, or mapping of split to these
    train_split: str = "train"  # the library's name of the split to train on
    validation_split: str | None = (
        "validation"  # the same to evaluate on; null: a share of train_split, by hash
    )
    validation_fraction: float = 0.01  # that share
    text_key: str = "text"  # column that holds the text
    streaming: bool = (
        False  # read over the network as needed instead of downloading the whole first
    )
    max_documents: int | None = None  # read at most so many documents of each split; null: all
    max_bytes: int | None = (
        None  # stop reading a split after the document that reaches so many bytes; null: never
    )
    wikitext_articles: bool = (
        False  # rows are lines of WikiText: put articles together at their " = Title = " lines
    )

    def __post_init__(self):
        check(
            0 < self.validation_fraction < 1,
            f"dataset.validation_fraction={self.validation_fraction}: expected between 0 and 1",
        )
        for name in ("max_documents", "max_bytes"):
            limit = getattr(self, name)
            check(
                limit is None or limit > 0,
                f"dataset.{name}={limit}: expected a positive number or null",
            )


class HuggingFace(Dataset):
    Config = Config

    @property
    def label(self) -> str:
        return self.config.label or self.config.path.rstrip("/").rsplit("/", 1)[-1]

    def documents(self, split: str) -> Iterator[Document]:
        config = self.config
        if config.validation_split is not None:
            yield from self._read(
                config.train_split if split == "train" else config.validation_split
            )
            return
        for document in self._read(config.train_split):
            if split_of(document.name, config.validation_fraction) == split:
                yield document

    def key(self) -> str:
        return options_key(self.config, self._local_files())

    def _read(self, split: str) -> Iterator[Document]:
        """The documents of one of the library's splits, up to the limits. Names are split and running number."""
        config, n_bytes = self.config, 0
        texts = self._texts(split)
        for number, text in enumerate(articles(texts) if config.wikitext_articles else texts):
            if number == config.max_documents or (
                config.max_bytes is not None and n_bytes >= config.max_bytes
            ):
                return
            # hub texts with a stray NUL or surrogate are mended: a user cannot edit them
            raw = utf8(text.encode("utf-8", "surrogatepass"), "replace", split)
            n_bytes += len(raw)
            yield Document(f"{split}-{number:07d}", raw)

    def _texts(self, split: str) -> Iterator[str]:
        config = self.config
        if self._on_hub():
            hub.require(
                f"dataset {config.path}",
                "dataset=python, dataset=files, or HF_HUB_OFFLINE=1 with a copy in the library's cache",
            )
        try:
            import datasets

            rows = datasets.load_dataset(
                config.path,
                config.subset,
                split=split,
                streaming=config.streaming,
                revision=config.revision,
                data_files=config.data_files,
            )
            for number, row in enumerate(rows):
                if not isinstance(row.get(config.text_key), str):
                    raise DataError(
                        f"dataset {config.path}, {split} row {number}: no text under {config.text_key!r}; "
                        f"it has {', '.join(row)}: set dataset.text_key=COLUMN"
                    )
                yield row[config.text_key]
        except DataError:
            raise
        except ImportError as error:
            raise DataError(
                f"dataset {config.path} needs the library `datasets`: {error}; pip install datasets"
            ) from None
        except (
            Exception
        ) as error:  # of many kinds: missing id, split or subset, network, damaged file
            raise DataError(
                f"dataset {config.path} ({split}) cannot be read: {hub.first_line(error)}"
            ) from None

    def _on_hub(self) -> bool:
        # in offline mode the library looks into its own cache and fails at once: no need to ask
        return (
            self.config.path not in LOCAL_KINDS
            and not Path(self.config.path).is_dir()
            and not hub.offline()
        )

    def _local_files(self) -> list[Path]:
        """The files on this machine that are to be read; none for a dataset of the hub."""
        folder = Path(self.config.path)
        if folder.is_dir():
            return sorted(path for path in folder.rglob("*") if path.is_file())
        if self.config.path.startswith(("/", ".", "~")):
            raise DataError(
                f"dataset.path={folder} is no folder; expected one, an id on the hub (owner/name), or one of {', '.join(LOCAL_KINDS)}"
            )
        if self.config.path not in LOCAL_KINDS:
            return []
        given = list(_flat(self.config.data_files))
        found = [
            Path(name) for pattern in given for name in sorted(glob.glob(pattern, recursive=True))
        ]
        if not found and not any("://" in pattern for pattern in given):
            raise DataError(
                f"dataset.path={self.config.path} with dataset.data_files={self.config.data_files}: no such file; expected a file or a glob"
            )
        return found


def articles(lines: Iterable[str]) -> Iterator[str]:
    """WikiText's rows (one a line, "" where the line is blank) -> one text an article.

    An article begins at a line " = Title = " between blank lines; " = = Section = = " lines do not begin one.
    """
    article: list[str] = []
    heading, blank = (
        None,
        True,
    )  # a line that may be a title, held until the next shows it; was the line before it blank?
    for line in lines:
        line = line if line.strip() else " \n"
        if heading is not None:
            if not line.strip() and any(map(str.strip, article)):
                yield "".join(article)
                article = []
            article.append(heading)
            heading = None
        if blank and _is_title(line):
            heading = line
        else:
            article.append(line)
        blank = not line.strip()
    if heading is not None:
        article.append(heading)
    if any(map(str.strip, article)):
        yield "".join(article)


def _is_title(line: str) -> bool:
    bare = line.strip()
    return (
        len(bare) > 4
        and bare.startswith("= ")
        and bare.endswith(" =")
        and not bare.startswith("= =")
    )


def _flat(data_files: Any) -> Iterator[str]:
    if isinstance(data_files, str):
        yield data_files
    elif isinstance(data_files, dict):
        for value in data_files.values():
            yield from _flat(value)
    elif data_files is not None:
        for value in data_files:
            yield from _flat(value)
