"""Datasets: real documents in stable, disjoint splits; every bad input is one line. No network."""

import ast
import dataclasses
import json
import logging
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import lengthgen
from lengthgen.cli import main
from lengthgen.config import catalogue
from lengthgen.data import datasets
from lengthgen.data.datasets import base, huggingface
from lengthgen.data.splits import check_lengths, make_dataset, prepare_splits
from lengthgen.errors import ConfigError, DataError, DiskError

ROOT = Path(lengthgen.__file__).parents[1]
BYTES = {"name": "bytes"}
SMALL = {"name": "python", "include": ["json", "email", "wsgiref", "dbm"]}


def text_of(store, index):
    return bytes(store.document(index)[1:].tolist())


def texts(store):
    return {name: text_of(store, i) for i, name in enumerate(store.names)}


def both(splits):
    return texts(splits.train) | texts(splits.validation)


def corpus(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def thirty(folder):
    return corpus(
        folder, {f"part{i % 3}/{i:02d}.txt": f"document {i}\n" * (i + 1) for i in range(30)}
    )


def prepare(options, tmp_path, tokenizer=BYTES):
    return prepare_splits(options, tokenizer, tmp_path / "cache")


def refuse(options, tmp_path, error=DataError, tokenizer=BYTES):
    """The one line with which `prepare` refuses."""
    with pytest.raises(error) as caught:
        prepare(options, tmp_path, tokenizer)
    assert (
        "\n" not in str(caught.value)
        and caught.value.exit_code == {DataError: 3, ConfigError: 2, DiskError: 7}[error]
    )
    return str(caught.value)


# the contract


def test_names_are_the_files():
    assert {"files", "huggingface", "python", "lag_copy"} <= set(
        datasets.names()
    ) and "synthetic" not in datasets.names()
    for name in datasets.names():
        assert issubclass(datasets.load(name), base.Dataset) and datasets.load(name).Config


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs" / "dataset").glob("*.yaml")), ids=lambda path: path.stem
)
def test_yaml_and_dataclass_agree(path):
    options = catalogue.contents(path, [catalogue.folder()])
    if options.get("path") == "???":
        options["path"] = "somewhere"
    cls = datasets.load(options["name"])
    run = cls.fitted(options, 512, [256, 512])  # what a run decides, of some
    built = make_dataset(run)
    assert options.pop("name") == run.pop("name")
    assert set(options) == set(run) == {field.name for field in dataclasses.fields(cls.Config)}
    if path.stem in datasets.names():
        given = {"path"} & set(options) | {key for key in run if run[key] != options[key]}
        assert built.config == cls.Config(**{key: run[key] for key in given})
    else:
        assert built.label == path.stem


def test_only_huggingface_imports_the_library():
    importers = set()
    for path in (ROOT / "lengthgen").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = (
                [node.module]
                if isinstance(node, ast.ImportFrom)
                else [each.name for each in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            if any((module or "").split(".")[0] == "datasets" for module in modules):
                importers.add(path.relative_to(ROOT).as_posix())
    assert importers == {"lengthgen/data/datasets/huggingface.py"}


@pytest.mark.parametrize(
    "options, says",
    [
        ({"name": "pyton"}, "nearest: python"),
        ({"name": "base"}, f"expected one of {', '.join(datasets.names())}"),
        ({}, "dataset has no name"),
        (
            {"name": "python", "validation_fractoin": 0.1},
            "unknown key dataset.validation_fractoin; expected one of: validation_fraction",
        ),
        (
            {"name": "python", "validation_fraction": 0},
            "validation_fraction=0.0: expected between 0 and 1",
        ),
        ({"name": "python", "validation_fraction": "lots"}, "dataset.validation_fraction"),
        (
            {"name": "files", "path": "x", "errors": "ignore"},
            "dataset.errors=ignore: expected one of strict, replace",
        ),
        ({"name": "files"}, "path"),
        (
            {"name": "huggingface", "path": "x", "max_bytes": 0},
            "dataset.max_bytes=0: expected a positive integer or null",
        ),
    ],
)
def test_bad_options(options, says, tmp_path):
    assert says in refuse(options, tmp_path, ConfigError)


# splits and stores


def test_split_is_stable_and_near_its_share():
    names = [f"folder/{i}.py" for i in range(10_000)]
    validation = {name for name in names if base.split_of(name, 0.2) == "validation"}
    assert 1_800 < len(validation) < 2_200
    assert {name for name in names if base.split_of(name, 0.1) == "validation"} < validation
    pinned = {
        "json/decoder.py": "validation",
        "argparse.py": "train",
        "b": "validation",
        "é": "validation",
    }  # 0.23, 0.79, 0.24, 0.29
    assert {name: base.split_of(name, 0.5) for name in pinned} == pinned


def test_the_default_dataset_is_the_standard_library(tmp_path):
    splits = prepare(SMALL, tmp_path)
    stdlib = Path(sysconfig.get_path("stdlib"))
    documents = both(splits)
    assert {"json/decoder.py", "email/message.py"} <= set(documents) and {
        name.split("/")[0] for name in documents
    } <= set(SMALL["include"])
    assert documents["json/decoder.py"] == (stdlib / "json" / "decoder.py").read_bytes()
    assert (splits.label, splits.tokenizer, splits.vocab_size) == ("python", "bytes", 257)
    for store in (splits.train, splits.validation):
        assert store.names == sorted(store.names)
        assert all(int(store.document(i)[0]) == 256 for i in range(store.n_documents))
        assert (
            store.token_bytes[store.tokens(0, store.n_tokens)].sum()
        ) == store.n_tokens - store.n_documents
    for name in splits.validation.names:
        assert base.split_of(name, 0.2) == "validation"
    assert not set(texts(splits.train).values()) & set(texts(splits.validation).values())


def test_all_of_the_standard_library_is_listed_without_tests_and_tables():
    names = [name for name, _ in make_dataset({"name": "python"})._files()]
    assert len(names) > 300 and len(set(names)) == len(names) and "argparse.py" in names
    parts = {part for name in names for part in name.split("/")}
    assert not parts & {"test", "tests", "site-packages", "encodings", "pydoc_data", "__pycache__"}
    assert not any(name.startswith("_sysconfigdata") for name in names)


def test_sources_are_decoded_and_their_line_ends_made_alike(tmp_path, monkeypatch):
    files = {f"m{i}.py": f"x = {i}\r\ny = 2\r" for i in range(12)}
    files |= {
        "latin.py": "# coding: latin-1\ns = 'é'\n".encode("latin-1"),
        "bad.py": b"s = '\xff'\n",
        "cookie.py": "# coding: klingon\n",
    }
    files |= {
        "bom.py": b"\xef\xbb\xbfz = 1\n",
        "empty.py": "",
        "note.txt": "not Python",
        "test/t.py": "no",
        "__pycache__/c.py": "no",
    }
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(corpus(tmp_path / "lib", files)))
    splits = prepare({"name": "python", "validation_fraction": 0.4}, tmp_path)
    documents = both(splits)
    assert documents["m3.py"] == b"x = 3\ny = 2\n"
    assert documents["latin.py"] == "# coding: latin-1\ns = 'é'\n".encode()
    assert documents["bom.py"] == b"z = 1\n"
    assert set(documents) == {f"m{i}.py" for i in range(12)} | {"latin.py", "bom.py"}
    assert splits.notes == ("1 left out: document without text", "2 left out: file not decodable")


def test_a_library_without_sources(tmp_path, monkeypatch):
    assert "no Python sources in nothing" in refuse(
        {"name": "python", "include": ["nothing"]}, tmp_path
    )


def test_the_second_call_reads_no_text(tmp_path, monkeypatch):
    first = prepare(SMALL, tmp_path)
    monkeypatch.setattr("lengthgen.data.splits.write_store", None)
    monkeypatch.setattr(datasets.load("python"), "documents", None)
    again = prepare(SMALL | {"label": "other"}, tmp_path)
    assert (
        again.fingerprint == first.fingerprint
        and again.label == "other"
        and again.notes == first.notes
    )


def test_one_changed_byte_changes_the_fingerprint_of_its_split(tmp_path):
    thirty(tmp_path / "text")
    options = {"name": "files", "path": str(tmp_path / "text"), "validation_fraction": 0.3}
    first = prepare(options, tmp_path)
    changed = tmp_path / "text" / next(name for name in first.validation.names)
    before = changed.stat()
    changed.write_bytes(b"D" + changed.read_bytes()[1:])
    os.utime(
        changed, ns=(before.st_atime_ns, before.st_mtime_ns)
    )  # same size, same time of modification
    second = prepare(options, tmp_path)
    assert second.fingerprint != first.fingerprint
    assert (
        second.validation.fingerprint != first.validation.fingerprint
        and second.train.fingerprint == first.train.fingerprint
    )


def test_the_fingerprint_depends_on_content_not_place(tmp_path):
    prints = set()
    for place in ("here", "a path/with späces"):
        folder = thirty(tmp_path / place)
        splits = prepare_splits(
            {"name": "files", "path": str(folder)}, BYTES, tmp_path / place / "cache"
        )
        prints.add((splits.fingerprint, tuple(splits.train.names)))
    assert len(prints) == 1


def test_environment_does_not_matter(tmp_path):
    """Hash seed, locale, working directory: byte-identical stores."""
    thirty(tmp_path / "text ü")
    script = (
        "import sys, lengthgen.data.splits as d; from pathlib import Path; "
        "options = {'name': 'files', 'path': sys.argv[1]}; "
        "print(d.prepare_splits(options, {'name': 'bytes'}, Path(sys.argv[2])).fingerprint)"
    )
    changes = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", script, str(tmp_path / "text ü"), str(tmp_path / "other")]
    done = subprocess.run(
        command, env=os.environ | changes, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (
        done.stdout.strip()
        == prepare({"name": "files", "path": str(tmp_path / "text ü")}, tmp_path).fingerprint
    )


def test_tokenizers_have_their_own_stores_and_the_same_text(tmp_path):
    as_bytes, as_bpe = (
        prepare(SMALL, tmp_path),
        prepare(SMALL, tmp_path, {"name": "bpe", "vocab_size": 512}),
    )
    assert (
        as_bpe.vocab_size == 512
        and as_bpe.fingerprint != as_bytes.fingerprint
        and as_bpe.tokenizer.startswith("bpe-512-")
    )
    for one, other in ((as_bytes.train, as_bpe.train), (as_bytes.validation, as_bpe.validation)):
        assert one.names == other.names and other.n_tokens < one.n_tokens * 0.7
        for store in (one, other):
            assert store.token_bytes[store.document(0)].sum() == len(text_of(one, 0))


@pytest.mark.parametrize("damaged", ["train/tokens.bin", "validation/store.json", "splits.json"])
def test_a_damaged_cache_is_built_anew(tmp_path, caplog, damaged):
    first = prepare(SMALL, tmp_path)
    path = next((tmp_path / "cache" / "stores").iterdir()) / damaged
    path.write_bytes(path.read_bytes()[:-3])
    with caplog.at_level(logging.WARNING):
        assert prepare(SMALL, tmp_path).fingerprint == first.fingerprint
    assert damaged == "splits.json" or "damaged" in caplog.text


def test_the_default_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LENGTHGEN_CACHE", str(tmp_path / "mine"))
    prepare_splits(SMALL, BYTES)
    assert (tmp_path / "mine" / "stores").is_dir()


def test_an_unwritable_cache(tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert "cache=FOLDER" in refuse(SMALL, tmp_path, DiskError)


def test_a_text_in_both_splits_is_left_out_of_train(tmp_path):
    folder = thirty(tmp_path / "text")
    held_out = prepare({"name": "files", "path": str(folder)}, tmp_path).validation.names[0]
    corpus(folder, {f"copy{i}.txt": (folder / held_out).read_bytes() for i in range(20)})
    splits = prepare({"name": "files", "path": str(folder)}, tmp_path)
    copies = sum(base.split_of(f"copy{i}.txt", 0.1) == "train" for i in range(20))
    assert splits.notes == (f"{copies} left out: train document that is also in validation",)
    assert not set(texts(splits.train).values()) & set(texts(splits.validation).values())


@pytest.mark.parametrize(
    "lengths, says",
    [
        (dict(train_length=10, eval_length=400, cross_documents=True), None),
        (
            dict(train_length=4_000_000, eval_length=10, cross_documents=True),
            "train_length=4000000 needs 4000001 tokens; the train split has ",
        ),
        (dict(train_length=500, eval_length=10, cross_documents=False), "documents of at most "),
        (
            dict(train_length=10, eval_length=2048, cross_documents=True),
            "eval length 2048 needs a document of 2049 tokens; the longest of ",
        ),
    ],
)
def test_lengths_are_checked_against_the_documents(tmp_path, lengths, says):
    splits = prepare(
        {"name": "files", "path": str(thirty(tmp_path / "text")), "validation_fraction": 0.3},
        tmp_path,
    )
    longest = {
        "train": int(splits.train.lengths.max()),
        "validation": int(splits.validation.lengths.max()),
    }
    lengths["eval_length"] = longest["validation"] - 1 if says is None else lengths["eval_length"]
    if says is None:
        return check_lengths(splits, **lengths)
    with pytest.raises(DataError) as caught:
        check_lengths(splits, **lengths)
    assert (
        says in str(caught.value)
        and "\n" not in str(caught.value)
        and "dataset text" in str(caught.value)
    )
    with pytest.raises(DataError):
        check_lengths(
            splits, train_length=10, eval_length=longest["validation"], cross_documents=True
        )


# the user's files


def rows(n=20, **more):
    return [
        {"id": f"doc-{i}", "text": f"text {i} é", **{key: value(i) for key, value in more.items()}}
        for i in range(n)
    ]


def third(i):
    return ("train", "validation", "test")[i % 3]


def write(path, records):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=7)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_records_with_a_split_column(tmp_path, ending):
    path = write(tmp_path / f"novels{ending}", rows(split=third, title=lambda i: f"t{i}"))
    splits = prepare({"name": "files", "path": str(path)}, tmp_path)
    assert splits.label == "novels"
    assert splits.train.names == [f"doc-{i}" for i in range(0, 20, 3)]
    expected = {f"doc-{i}": f"text {i} é".encode() for i in range(1, 20, 3)}
    assert texts(splits.validation) == expected
    by_hash = prepare(
        {
            "name": "files",
            "path": str(path),
            "split_key": None,
            "validation_fraction": 0.4,
            "label": "mine",
        },
        tmp_path,
    )
    assert len(both(by_hash)) == 20 and by_hash.label == "mine"


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_records_without_split_or_id(tmp_path, ending):
    path = write(tmp_path / f"r{ending}", [{"body": f"text {i}"} for i in range(20)])
    splits = prepare(
        {"name": "files", "path": str(path), "text_key": "body", "validation_fraction": 0.4},
        tmp_path,
    )
    assert both(splits) == {f"r{ending}:{i + 1}": f"text {i}".encode() for i in range(20)}


def test_a_folder_of_everything(tmp_path):
    folder = thirty(tmp_path / "my corpus")
    corpus(
        folder,
        {
            "readme.md": "# Title\r\n",
            "code/x.PY": "x = 1\n",
            "ignored.csv": "a,b\n",
            "sub.txt/inner.txt": "in a folder named like a file",
        },
    )
    write(folder / "more.jsonl", [{"text": f"record {i}"} for i in range(5)])
    splits = prepare({"name": "files", "path": str(folder), "validation_fraction": 0.3}, tmp_path)
    documents = both(splits)
    assert len(documents) == 30 + 3 + 5 and splits.label == "my corpus"
    assert documents["readme.md"] == b"# Title\r\n"  # text is taken as it stands
    assert documents["more.jsonl:2"] == b"record 1" and documents["part0/00.txt"] == b"document 0\n"


def test_a_glob_and_a_relative_path(tmp_path, monkeypatch):
    thirty(tmp_path / "text")
    monkeypatch.chdir(tmp_path)
    some = prepare(
        {"name": "files", "path": "text/part[01]/*.txt", "validation_fraction": 0.3}, tmp_path
    )
    assert len(both(some)) == 20 and "part0/03.txt" in both(some)
    every = prepare(
        {"name": "files", "path": "text/**/*.txt", "validation_fraction": 0.3}, tmp_path
    )
    assert both(every) == both(
        prepare({"name": "files", "path": "text", "validation_fraction": 0.3}, tmp_path)
    )


BAD_FILES = {
    "missing": ({}, "x.txt", "does not exist"),
    "no match": ({"a.csv": "x"}, "*.txt", "holds no file of .txt"),
    "empty folder": ({"a.pdf": "x"}, "", "holds no file of .txt"),
    "ending": ({"a.pdf": "x"}, "a.pdf", "cannot read .pdf; expected .txt"),
    "gz": ({"a.txt.gz": b"\x1f\x8b"}, "a.txt.gz", "cannot read"),
    "one document": ({"a.txt": "x"}, "a.txt", "expected at least one in each"),
    "all empty": (
        {"a.txt": "", "b.txt": "\n \n"},
        "",
        "0 train and 0 validation documents with text",
    ),
    "latin-1": (
        {"a.txt": "ab\u00e9".encode("latin-1")},
        "a.txt",
        "byte 0xe9 at offset 2 is not UTF-8 text; convert",
    ),
    "utf-16": ({"a.txt": "abc".encode("utf-16-le")}, "a.txt", "byte 0x00 at offset 1"),
    "cut character": ({"a.txt": "abcé".encode()[:-1]}, "a.txt", "byte 0xc3 at offset 3"),
    "fault in the second MiB": (
        {"a.txt": b"\xc3\xa9" * 2**20 + b"\xff"},
        "a.txt",
        f"byte 0xff at offset {2**21}",
    ),
    "fault over the seam": (
        {"a.txt": b"x" * (2**20 - 1) + b"\xc3x"},
        "a.txt",
        f"byte 0xc3 at offset {2**20 - 1}",
    ),
    "random bytes": ({"a.parquet": bytes(range(256)) * 9}, "a.parquet", "cannot read"),
    "empty parquet": ({"a.parquet": b""}, "a.parquet", "as Parquet"),
    "not json": (
        {"a.jsonl": '{"text": "x"}\n{"text": \n'},
        "a.jsonl",
        "a.jsonl: line 2 is not JSON",
    ),
    "deep json": ({"a.jsonl": "[" * 100_000}, "a.jsonl", "line 1 is not JSON"),
    "json list": ({"a.jsonl": '["x"]\n'}, "a.jsonl", "line 1 is a JSON list"),
    "no key": (
        {"a.jsonl": '{"body": "x", "n": 1}\n'},
        "a.jsonl",
        "record 1 has no column 'text'; it has body, n: set dataset.text_key=COLUMN",
    ),
    "null text": (
        {"a.jsonl": '{"text": null}\n'},
        "a.jsonl",
        "(1 left out: record without 'text' (null))",
    ),
    "number": ({"a.jsonl": '{"text": 3}\n'}, "a.jsonl", "holds int"),
    "surrogate": (
        {"a.jsonl": '{"text": "ab\\ud800"}\n'},
        "a.jsonl",
        "record 1: byte 0xed at offset 2",
    ),
    "bytes of a line": (
        {"a.jsonl": b'{"text": "x"}\n{"text": "\xff"}\n'},
        "a.jsonl",
        "byte 0xff at offset 24",
    ),
    "split value": (
        {"a.jsonl": '{"text": "x", "split": "trian"}\n'},
        "a.jsonl",
        "split='trian'; expected one of train, validation",
    ),
    "some splits": (
        {"a.jsonl": '{"text": "x", "split": "train"}\n{"text": "y"}\n'},
        "a.jsonl",
        "'split' stands in some records only",
    ),
    "only train": (
        {"a.jsonl": '{"text": "x", "split": "train"}\n'},
        "a.jsonl",
        "1 train and 0 validation documents",
    ),
    "same id": (
        {"a.jsonl": '{"text": "x", "id": 1, "split": "val"}\n' * 2},
        "a.jsonl",
        "two documents are named '1'",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(tmp_path, case):
    files, path, says = BAD_FILES[case]
    corpus(tmp_path / "in", files)
    (tmp_path / "in").mkdir(exist_ok=True)
    message = refuse(
        {"name": "files", "path": str(tmp_path / "in" / path), "validation_fraction": 0.999},
        tmp_path,
    )
    assert says in message
    if case not in (
        "one document",
        "all empty",
        "only train",
        "same id",
        "null text",
    ):  # faults of the whole, not of a file
        assert str(tmp_path / "in") in message
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_a_parquet_file_without_the_column(tmp_path):
    path = write(tmp_path / "p.parquet", [{"body": "x", "n": 1}])
    assert "has no column 'text'; it has body, n: set dataset.text_key=COLUMN" in refuse(
        {"name": "files", "path": str(path)}, tmp_path
    )


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    assert "no regular file" in refuse(
        {"name": "files", "path": str(tmp_path / "pipe.txt")}, tmp_path
    )


def test_faulty_text_is_replaced_when_asked(tmp_path):
    corpus(
        tmp_path / "in",
        {f"{i}.txt": b"ok \xff\0 %d" % i for i in range(12)}
        | {"r.jsonl": '{"text": "a\\ud800b"}\n'},
    )
    splits = prepare(
        {
            "name": "files",
            "path": str(tmp_path / "in"),
            "errors": "replace",
            "validation_fraction": 0.4,
        },
        tmp_path,
    )
    documents = both(splits)
    assert (
        documents["3.txt"].decode() == "ok \ufffd\ufffd 3"
        and documents["r.jsonl:1"].decode().strip("\ufffd") == "a\ufffd\ufffd\ufffdb"
    )


def test_names_that_are_not_unicode_stay_printable(tmp_path):
    thirty(tmp_path / "in")
    with open(os.fsencode(tmp_path) + b"/in/\xff.txt", "wb") as file:
        file.write(b"text")
    names = set(both(prepare({"name": "files", "path": str(tmp_path / "in")}, tmp_path)))
    assert "\\udcff.txt" in names and all(name.encode() for name in names)


# Hugging Face, without the hub


@pytest.fixture
def library(tmp_path, monkeypatch):
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "library")
    library.disable_progress_bars()
    return library


@pytest.mark.parametrize("streaming", [False, True])
def test_local_parquet_through_the_library(tmp_path, library, streaming):
    path = write(tmp_path / "p.parquet", rows())
    options = {
        "name": "huggingface",
        "path": "parquet",
        "data_files": str(path),
        "validation_split": None,
        "validation_fraction": 0.4,
    }
    splits = prepare(options | {"streaming": streaming}, tmp_path)
    assert both(splits) == {f"train-{i:07d}": f"text {i} é".encode() for i in range(20)}
    assert splits.label == "parquet"
    few = prepare(options | {"streaming": streaming, "max_documents": 12}, tmp_path)
    assert set(both(few)) == {f"train-{i:07d}" for i in range(12)}
    less = prepare(
        options | {"streaming": streaming, "max_bytes": 100, "validation_fraction": 0.3}, tmp_path
    )
    assert len(both(less)) == 11  # ten texts of 9 bytes, one of 10


def test_a_local_folder_with_named_splits_and_cached(tmp_path, library, monkeypatch):
    (tmp_path / "local").mkdir()
    for split in ("train", "validation"):
        write(tmp_path / "local" / f"{split}.parquet", [{"text": f"{split} {i}"} for i in range(5)])
    options = {"name": "huggingface", "path": str(tmp_path / "local")}
    splits = prepare(options, tmp_path)
    assert list(texts(splits.validation).values()) == [f"validation {i}".encode() for i in range(5)]
    assert splits.label == "local" and splits.train.n_documents == 5
    monkeypatch.setattr(library, "load_dataset", None)
    assert prepare(options, tmp_path).fingerprint == splits.fingerprint


@pytest.mark.parametrize(
    "options",
    [
        {"path": "~/local", "label": "mine"},
        {"path": "parquet", "data_files": "~/local/train.parquet", "validation_split": None},
        {"path": "parquet", "data_files": {"train": ["~/local/train.parquet"],
                                           "validation": "~/local/validation.parquet"}},
    ],
)  # fmt: skip
def test_the_home_folder_in_a_path(tmp_path, library, monkeypatch, options):
    (tmp_path / "home" / "local").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for split in ("train", "validation"):
        path = tmp_path / "home" / "local" / f"{split}.parquet"
        write(path, [{"text": f"{split} {i}"} for i in range(9)])
    options = {"name": "huggingface", "validation_fraction": 0.3} | options
    documents = texts(prepare(options, tmp_path).train).values()
    assert documents and all(text.startswith(b"train ") for text in documents)
    with pytest.raises(ConfigError, match="no home folder of that user"):
        prepare(options | {"path": "~no-such-user/x"}, tmp_path)
    with pytest.raises(ConfigError, match=r"data_files=3: expected a file, a glob"):
        prepare(options | {"path": "parquet", "data_files": 3}, tmp_path)


@pytest.mark.parametrize(
    "changes, says",
    [
        (
            {"text_key": "body"},
            "row 0 has no column 'body'; it has id, text: set dataset.text_key=COLUMN",
        ),
        ({"validation_split": "valid"}, "valid"),
        ({"data_files": "/no/such.parquet"}, "no such file"),
        ({"data_files": None}, "no such file"),
        (
            {"path": "./nowhere"},
            "dataset.path=nowhere is no folder; expected one, an id on the hub",
        ),
        ({"data_files": "BROKEN"}, "cannot be read"),
    ],
)
def test_the_librarys_faults_are_one_line(tmp_path, library, changes, says):
    path = write(tmp_path / "p.parquet", rows())
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    if changes.get("data_files") == "BROKEN":
        changes = {"data_files": str(tmp_path / "broken.parquet")}
    options = {
        "name": "huggingface",
        "path": "parquet",
        "data_files": str(path),
        "validation_split": None,
        "streaming": True,
    }
    message = refuse(options | changes, tmp_path)
    assert says in message and "dataset" in message


@pytest.mark.parametrize(
    "offline, says",
    [({"HF_HUB_OFFLINE": "1"}, "ffline"), ({}, "Connection refused; connect, or use")],
)
def test_an_unreachable_hub_is_one_line_without_waiting(tmp_path, offline, says, refusing):
    script = (
        # the library sleeps between its attempts
        "import sys, time; waits = []; time.sleep = waits.append\n"
        "import lengthgen.data.splits as d; from lengthgen.data import hub\n"
        "from lengthgen.errors import DataError; hub.SECONDS = 60.0\n"
        "options = {'name': 'huggingface', 'path': 'Salesforce/wikitext'}\n"
        "try: d.prepare_splits(options, {'name': 'bytes'}, sys.argv[1])\n"
        "except DataError as error: print(len(waits), error)"
    )
    hub = {
        "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": refusing,
        "HF_HUB_OFFLINE": "0",
        "no_proxy": "*",
    } | offline
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | hub
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "c")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    waits, message = done.stdout.strip().split(" ", 1)
    assert (
        waits == "0"
        and says in message
        and "Salesforce/wikitext" in message
        and "\n" not in message
    )
    assert "Traceback" not in done.stderr


def test_wikitext_lines_become_articles():
    lines = [
        "",
        " = One = \n",
        "",
        " Text a = b . \n",
        "",
        " = = Part = = \n",
        "",
        " x \n",
        " = Not a title = \n",
        " y \n",
        "",
        " = Two = \n",
        "",
        " z \n",
        "",
    ]
    first, second = huggingface.articles(lines)
    assert (
        first
        == " \n = One = \n \n Text a = b . \n \n = = Part = = \n \n x \n = Not a title = \n y \n \n"
    )
    assert second == " = Two = \n \n z \n \n"
    assert list(huggingface.articles([])) == [] and list(huggingface.articles(["", ""])) == []
    assert list(huggingface.articles(["", " = End = \n"])) == [" \n = End = \n"]


def test_wikitext_through_the_library(tmp_path, library):
    lines = [line for i in range(6) for line in ("", f" = Title {i} = \n", "", f" Text {i} \n")]
    path = write(tmp_path / "p.parquet", [{"text": line} for line in lines])
    files = {"train": str(path), "validation": str(path)}
    options = {
        "name": "huggingface",
        "path": "parquet",
        "data_files": files,
        "wikitext_articles": True,
        "streaming": True,
        "max_documents": 4,
    }
    source = make_dataset(options)
    assert [d.name for d in source.documents("validation")] == [
        f"validation-{i:07d}" for i in range(4)
    ]
    assert [d.text.split(b" = \n")[0][-7:] for d in source.documents("train")] == [
        b"Title 0",
        b"Title 1",
        b"Title 2",
        b"Title 3",
    ]
    message = refuse(options, tmp_path)  # the same articles in both: none is left to train on
    assert (
        "nothing for the train split (4 left out: train document that is also in validation)"
        in message
    )


# a dataset of the user's own

CHANT = """
from __future__ import annotations
from dataclasses import dataclass
from lengthgen.data.datasets.base import Dataset, Document, options_key

@dataclass
class Config:
    label: str = "chant"
    verses: int = 12

class Chant(Dataset):
    Config = Config

    def documents(self, split):
        for number in range(self.config.verses):
            yield Document(f"{split}-{number}", f"{split} {number} la la la ".encode() * 20)

    def key(self):
        return options_key(self.config)
"""


@pytest.fixture
def chant(tmp_path, monkeypatch):
    """The file of the dataset chant, in mine/dataset/ below the current folder."""
    monkeypatch.chdir(tmp_path)
    corpus(
        tmp_path / "mine" / "dataset",
        {"chant.py": CHANT, "chant.yaml": "name: chant  # the same few words\nverses: 9\n"},
    )
    return tmp_path / "mine" / "dataset" / "chant.py"


TINY_RUN = [
    *("steps=2", "train_length=16", "batch_size=2", "model.n_layers=1", "model.width=16"),
    *("evaluation=quick", "tracking=none", "threads=1", "cache=cache"),
]


def finished_runs():
    return sorted(path.parent.name for path in Path("results/runs").glob("*/done.json"))


def test_a_dataset_of_the_users_own_is_trained_evaluated_and_listed(chant, capsys):
    words = ["--config-dir", "mine", "+scheme=alibi", "dataset=chant", *TINY_RUN]
    assert main.main(["train", *words]) == 0
    (run_id,) = finished_runs()
    folder = Path("results/runs", run_id)
    assert run_id.startswith("alibi-chant-tiny-L16-s0-")
    assert (folder / "dataset" / "chant.py").read_text() == CHANT
    assert yaml.safe_load((folder / "config.yaml").read_text())["dataset"]["verses"] == 9

    # evaluated without --config-dir, and although the user's file has changed since
    chant.write_text(CHANT.replace("la la la", "lo lo lo"))
    before = len(list(folder.glob("evaluation/*")))
    words = ["evaluate", f"run={run_id}", "evaluation.lengths=[16,24]"]
    assert main.main(words) == 2 and main.main([*words, "trust_code=true"]) == 0
    assert len(list(folder.glob("evaluation/*"))) == before + 1

    capsys.readouterr()
    assert main.main(["list", "datasets", "--config-dir", "mine"]) == 0
    assert re.search(r"^chant +the same few words$", capsys.readouterr().out, re.MULTILINE)


def test_other_code_under_the_same_name_is_another_run(chant):
    """Also where it gives the same tokens: the code says as well which of them are scored."""
    words = ["--config-dir", "mine", "+scheme=alibi", "dataset=chant", *TINY_RUN]
    for code in (CHANT, CHANT + "# changed"):
        chant.write_text(code)
        assert main.main(["train", *words]) == 0
    assert len(finished_runs()) == 2


def test_other_code_under_the_same_name_has_other_token_stores(chant):
    """Although `key` is the same: it knows nothing of the code."""
    options, folders = {"name": "chant", "verses": 3}, [chant.parent]
    first = prepare_splits(options, BYTES, Path("cache"), folders)
    chant.write_text(CHANT.replace("la la la", "lo lo lo"))
    second = prepare_splits(options, BYTES, Path("cache"), folders)
    assert b"lo lo lo" in text_of(second.train, 0) and b"la la la" in text_of(first.train, 0)
    assert (
        first.user_code == chant and prepare_splits(SMALL, BYTES, Path("cache")).user_code is None
    )


def test_a_dataset_that_has_no_file_names_the_folders(chant):
    with pytest.raises(
        ConfigError, match=r"dataset 'chat' has no code.*chat\.py in .*mine/dataset"
    ):
        make_dataset({"name": "chat"}, [chant.parent])
