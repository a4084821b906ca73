"""Splits that a corpus names by its folders and files: train/ and val/, wiki.train.txt, ...

What a corpus holds out must not be trained on, so either every file has a split or the corpus is
refused. Names count where both a training and a held-out split have one.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from lengthgen.errors import DataError

VALIDATION = ("validation", "valid", "val", "dev")
SPLIT_NAMES = {
    "train": "train",
    **dict.fromkeys(VALIDATION, "validation"),
    "test": None,  # left out
}
DEEPEST = 2  # data/train/... names a split, a folder `test` deep in a tree of sources does not
# `train`, `wiki.train`, `my_val`, `val_03`, `train-00000-of-00002-5f0e8a0f6a61bd30`
_STEM = re.compile(
    rf"(?:.*[._])?({'|'.join(SPLIT_NAMES)})(?:[._-]?\d+)?(?:-of-\d+)?(?:-[0-9a-f]{{8,}})?"
)
_ABOUT = re.compile(r"readme|licen[cs]e|citation|changelog|dataset_?infos?|contributing|notice")


def named(name: str) -> str | None:
    """The split word in the path of a file inside its corpus, or None."""
    path = PurePosixPath(name.lower())
    for folder in path.parts[:-1][:DEEPEST]:
        if folder in SPLIT_NAMES:
            return folder
    stem, ending = path.name.partition(".")[0], path.suffix
    while path.suffix:
        path = path.with_suffix("")
        if ending != ".py" and (match := _STEM.fullmatch(path.name)):  # train.py is a program
            return match[1]
        stem = path.name
    return stem if stem in SPLIT_NAMES and ending != ".py" else None


def of_files(names: Sequence[str], place: str) -> tuple[dict[str, str | None], str | None] | None:
    """The split of every file (None: left out) and a remark; None where names say nothing.

    Without a validation split, the test split is the held-out one. DataError for files of none.
    """
    words = {name: named(name) for name in names}
    present = set(words.values())
    held_out = present & {*VALIDATION, "test"}
    others = [
        n for n in names if words[n] is None and not _ABOUT.match(PurePosixPath(n).stem.lower())
    ]
    if "train" not in present or not held_out or (held_out == {"test"} and others):
        return None
    if others:
        some = ", ".join(
            next(n for n in names if words[n] == word) for word in ("train", *held_out)
        )
        raise DataError(
            f"{place} has files of named splits ({some}) and {len(others)} of none "
            f"({', '.join(others[:3])}): name a split for all of them, or set "
            "dataset.split_key=null, which divides all by a hash of their names"
        )
    if held_out == {"test"}:
        splits = {**SPLIT_NAMES, "test": "validation"}
        remark = "no validation split is named: the test split is taken for it"
        return {name: splits.get(word or "") for name, word in words.items()}, remark
    return {name: SPLIT_NAMES.get(word or "") for name, word in words.items()}, None
