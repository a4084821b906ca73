"""Data as people have them: nulls, binary columns, named splits, one file, many formats."""

import bz2
import gzip
import json
import logging
import lzma
import os

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from lengthgen.data import split_names
from lengthgen.data.documents import position
from lengthgen.data.splits import prepare_splits
from lengthgen.errors import DataError

from .test_datasets import both, corpus, library, prepare, refuse, rows, texts, write  # noqa: F401

SHARE = {"name": "files", "validation_fraction": 0.4}


def files(path, **more):
    return SHARE | {"path": str(path)} | more


def through_the_library(path, kind="parquet", **more):
    local = {"name": "huggingface", "path": kind, "data_files": str(path)}
    return local | {"validation_split": None, "validation_fraction": 0.4} | more


def stream_of(path, records):
    table = pa.Table.from_pylist(records)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return path


# nulls, binary and nested columns


@pytest.mark.parametrize("nulls", [{0}, {3}, {0, 5, 39}, set(range(10, 30))])
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_nulls_are_left_out_and_counted(tmp_path, library, ending, nulls):  # noqa: F811
    records = [{"text": None if i in nulls else f"text {i}"} for i in range(40)]
    path = write(tmp_path / f"r{ending}", records)
    kept = {f"text {i}".encode() for i in range(40) if i not in nulls}
    kind = "json" if ending == ".jsonl" else "parquet"
    for options in (files(path), through_the_library(path, kind, streaming=True)):
        splits = prepare(options, tmp_path)
        assert set(both(splits).values()) == kept
        assert splits.notes == (f"{len(nulls)} left out: record without 'text' (null)",)


def test_a_later_record_without_the_field_is_a_null(tmp_path, library):  # noqa: F811
    path = tmp_path / "r.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"text {i}"} if i != 7 else {"n": 7}) + "\n" for i in range(20))
    )
    for options in (files(path), through_the_library(path, "json")):
        assert prepare(options, tmp_path).notes == ("1 left out: record without 'text' (null)",)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.large_string(), pa.string()])
def test_text_as_binary_is_read_by_both(tmp_path, library, kind):  # noqa: F811
    values = [f"text {i} é".encode() for i in range(20)]
    path = tmp_path / "b.parquet"
    pq.write_table(pa.table({"text": pa.array(values, pa.binary()).cast(kind)}), path)
    for options in (files(path), through_the_library(path)):
        assert sorted(both(prepare(options, tmp_path)).values()) == sorted(values)


def test_binary_that_is_no_text_names_the_key(tmp_path, library):  # noqa: F811
    path = tmp_path / "b.parquet"
    pq.write_table(pa.table({"text": pa.array([b"ok", b"a\xff"] * 9, pa.binary())}), path)
    for options, key in ((files(path), "errors"), (through_the_library(path), "text_key")):
        message = refuse(options, tmp_path)
        assert "byte 0xff at offset 1" in message and f"dataset.{key}=" in message


@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ".json"])
def test_a_field_of_a_field(tmp_path, library, ending):  # noqa: F811
    records = [{"meta": {"id": f"d{i}"}, "data": {"text": f"text {i}"}} for i in range(20)]
    path = write(tmp_path / f"r{ending}", records)
    splits = prepare(files(path, text_key="data.text", id_key="meta.id"), tmp_path)
    assert both(splits) == {f"d{i}": f"text {i}".encode() for i in range(20)}
    kind = "parquet" if ending == ".parquet" else "json"
    options = through_the_library(path, kind, text_key="data.text")
    assert set(both(prepare(options, tmp_path)).values()) == set(both(splits).values())
    message = refuse(files(path, text_key="data.body"), tmp_path)
    assert "no column 'data.body'" in message and "dataset.text_key=COLUMN" in message


def test_a_column_whose_own_name_has_a_dot(tmp_path):
    for ending in (".jsonl", ".parquet"):
        path = write(tmp_path / f"r{ending}", [{"a.b": f"text {i}"} for i in range(20)])
        assert len(both(prepare(files(path, text_key="a.b"), tmp_path))) == 20


def test_advice_does_not_name_the_column_that_is_wrong(tmp_path, library):  # noqa: F811
    path = write(tmp_path / "r.parquet", [{"text": i, "body": "x"} for i in range(20)])
    for options in (files(path), through_the_library(path)):
        assert "name another with dataset.text_key=COLUMN" in refuse(options, tmp_path)


# splits that folders and files name


@pytest.mark.parametrize("held_out", ["val", "validation", "valid", "dev", "Val"])
@pytest.mark.parametrize("place", ["", "data/"])
def test_folders_name_their_splits(tmp_path, held_out, place):
    text = {f"{place}train/{i}.txt": f"train {i}" for i in range(10)}
    text |= {f"{place}{held_out}/{i}.txt": f"held out {i}" for i in range(10)}
    text |= {f"{place}test/{i}.txt": f"test {i}" for i in range(3)} | {"README.md": "about it"}
    splits = prepare(files(corpus(tmp_path / "in", text)), tmp_path)
    assert {t[:5] for t in texts(splits.train).values()} == {b"train"}
    assert sorted(texts(splits.validation).values()) == [b"held out %d" % i for i in range(10)]
    assert splits.notes == ("4 left out: file of the test split or of none",)


def test_the_test_split_stands_in_for_a_missing_validation_split(tmp_path):
    text = {"train/0.txt": "train", "test/0.txt": "held out", "README.md": "about it"}
    splits = prepare(files(corpus(tmp_path / "in", text)), tmp_path)
    assert set(texts(splits.validation)) == {"test/0.txt"} and "test split" in splits.notes[0]


@pytest.mark.parametrize(
    "train, held_out",
    [
        ("train.txt", "validation.txt"),
        ("wiki.train.tokens", "wiki.valid.tokens"),
        ("my_train.txt.gz", "my_val.txt.gz"),
        (
            "train-00000-of-00002-5f0e8a0f6a61bd30.jsonl",
            "val-00000-of-00001-5f0e8a0f6a61bd30.jsonl",
        ),
        ("train_01.md", "dev_01.md"),
    ],
)
def test_files_name_their_splits(tmp_path, train, held_out):
    (tmp_path / "in").mkdir()
    for name in (train, held_out):
        raw = b"".join(json.dumps({"text": f"{name} {i}"}).encode() + b"\n" for i in range(9))
        (tmp_path / "in" / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    splits = prepare(files(tmp_path / "in"), tmp_path)
    assert {name.split(":")[0] for name in splits.train.names} == {train}
    assert {name.split(":")[0] for name in splits.validation.names} == {held_out}


def test_a_file_without_a_split_beside_named_ones_is_refused(tmp_path):
    folder = corpus(tmp_path / "in", {n: n * 3 for n in ("train.txt", "val.txt", "extra.txt")})
    message = refuse(files(folder), tmp_path)
    assert "extra.txt" in message and "dataset.split_key=null" in message
    assert prepare(files(folder, split_key=None, validation_fraction=0.7), tmp_path).notes == ()


def test_a_column_says_more_than_the_name_of_its_file(tmp_path):
    for name in ("train", "val"):
        path = tmp_path / "in" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        write(path, [{"text": f"{name} {s}", "split": s} for s in ("train", "validation")])
    splits = prepare(files(tmp_path / "in"), tmp_path)
    assert set(texts(splits.train).values()) == {b"train train", b"val train"}


@pytest.mark.parametrize(
    "names",
    [
        ["train.py", "val.py", "model.py"],  # programs
        ["acid-test.txt", "night-train.txt", "my dev diary.txt"],  # titles
        ["train/a.txt", "b.txt"],  # nothing held out
        ["src/models/deep/train/a.txt", "src/models/deep/val/b.txt", "c.txt"],
        ["test/a.txt", "docs/b.txt"],
    ],
)
def test_words_that_are_no_splits(names):
    assert split_names.of_files(names, "") is None


def test_names_of_splits_do_not_change_the_store_of_others(tmp_path):
    """The key of data divided by a hash is what it was; that of named splits is another one."""
    from lengthgen.data.datasets.base import options_key
    from lengthgen.data.splits import make_dataset

    for name, named in (("a", False), ("train", True)):
        folder = corpus(tmp_path / name, {f"{name}/x.txt": "x", "val/y.txt": "y"})
        source = make_dataset(files(folder))
        paths = sorted(p for p in folder.rglob("*") if p.is_file())
        assert (source.key() != options_key(source.config, paths)) == named


# a single document


@pytest.mark.parametrize("name", ["novel.txt", "novel.txt.gz", "in/novel.md", "one.jsonl"])
def test_a_single_document_is_divided_by_position(tmp_path, name):
    text = "".join(f"line {i} é\n" for i in range(1000)).encode()
    raw = json.dumps({"text": text.decode()}).encode() if name == "one.jsonl" else text
    raw = gzip.compress(raw) if name.endswith(".gz") else raw
    corpus(tmp_path, {name: raw})
    splits = prepare({"name": "files", "path": str(tmp_path / name.split("/")[0])}, tmp_path)
    (train,), (validation,) = texts(splits.train).values(), texts(splits.validation).values()
    assert train + validation == text and validation.startswith(b"line ")
    assert 0.09 < len(validation) / len(text) < 0.11
    assert "its last 10 % (dataset.validation_fraction)" in splits.notes[0]


def test_the_share_of_a_single_document_is_the_datasets_own(tmp_path):
    corpus(tmp_path, {"a.txt": "日本語" * 1000})
    splits = prepare(files(tmp_path / "a.txt"), tmp_path, {"name": "bpe", "vocab_size": 300})
    sizes = [splits.train, splits.validation]
    assert [round(s.token_bytes[s.document(0)].sum() / 9000, 2) for s in sizes] == [0.6, 0.4]


def test_the_library_divides_a_single_document_too(tmp_path, library):  # noqa: F811
    path = write(tmp_path / "one.parquet", [{"text": "line of text\n" * 500}])
    splits = prepare(through_the_library(path), tmp_path)
    assert (splits.train.n_documents, splits.validation.n_documents) == (1, 1)


@pytest.mark.parametrize(
    "text, share, cut",
    [(b"ab\ncd\nef", 0.5, 6), (b"abcdefgh", 0.5, 4), ("éééé".encode(), 0.6, 4), (b"x", 0.9, 0)],
)
def test_where_a_text_is_cut(text, share, cut):
    assert position(text, share) == cut


def test_a_split_that_a_column_names_is_not_made_up(tmp_path):
    corpus(tmp_path, {"a.jsonl": json.dumps({"text": "x\n" * 99, "split": "train"}) + "\n"})
    assert "dataset.split_key=null" in refuse(files(tmp_path / "a.jsonl"), tmp_path)


def test_the_share_that_would_divide_the_documents_is_named(tmp_path):
    folder = corpus(tmp_path / "in", {f"{i}.txt": f"document {i}" for i in range(3)})
    message = refuse({"name": "files", "path": str(folder), "validation_fraction": 0.001}, tmp_path)
    share = float(message.split("dataset.validation_fraction=")[1].split(",")[0])
    splits = prepare(files(folder, validation_fraction=share), tmp_path)
    assert splits.validation.n_documents == 1


def test_records_of_one_id(tmp_path):
    path = write(tmp_path / "r.jsonl", [{"id": 7, "text": f"text {i}"} for i in range(40)])
    message = refuse(files(path), tmp_path)
    assert "40 documents share 1 names ('7')" in message and "dataset.id_key=id" in message
    assert len(both(prepare(files(path, id_key=None), tmp_path))) == 40


# formats


def packed(ending, raw):
    if ending == ".zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as out:
            out.write(raw)
        return sink.getvalue().to_pybytes()
    return {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[ending](raw)


@pytest.mark.parametrize("compressed", ["", ".gz", ".zst", ".bz2", ".xz"])
@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".json", ".csv", ".tsv"])
def test_every_format_gives_the_same_documents(tmp_path, ending, compressed):
    text = [f'text {i}, "é"\n\tline two' for i in range(20)]
    if ending == ".txt":
        path, parts = tmp_path / "in", {f"{i:02d}.txt": t.encode() for i, t in enumerate(text)}
    else:
        path, parts = tmp_path / "in" / f"r{ending}{compressed}", {f"r{ending}": b""}
        quoted = ['"' + t.replace('"', '""') + '"' for t in text]
        parts[f"r{ending}"] = {
            ".jsonl": "\n".join(json.dumps({"text": t}) for t in text),
            ".json": json.dumps([{"text": t} for t in text], indent=1),
            ".csv": "\ufeffn,text\r\n" + "\r\n".join(f"{i},{t}" for i, t in enumerate(quoted)),
            ".tsv": "text\tn\n" + "\n".join(f"{t}\t{i}" for i, t in enumerate(quoted)),
        }[ending].encode()
    corpus(
        tmp_path / "in",
        {n + compressed: packed(compressed, r) if compressed else r for n, r in parts.items()},
    )
    splits = prepare(files(path), tmp_path)
    assert sorted(both(splits).values()) == sorted(t.encode() for t in text)


@pytest.mark.parametrize("kind", ["file", "stream", "zstd"])
def test_arrow(tmp_path, kind):
    path = tmp_path / "r.arrow"
    if kind == "stream":
        stream_of(path, rows())
    else:
        compression = "zstd" if kind == "zstd" else "uncompressed"
        pa.feather.write_feather(pa.Table.from_pylist(rows()), str(path), compression=compression)
    assert both(prepare(files(path), tmp_path)) == {
        f"doc-{i}": f"text {i} é".encode() for i in range(20)
    }


def test_json_of_one_object_a_line(tmp_path):
    path = write(tmp_path / "r.json", rows())
    assert len(both(prepare(files(path), tmp_path))) == 20


def test_other_formats_beside_text_are_left_out_and_said(tmp_path):
    text = {f"{i}.txt": f"document {i}" for i in range(20)}
    corpus(tmp_path / "in", text | {"about.csv": "id,title\n1,x\n", "more.txt.gz": b"\x1f"})
    splits = prepare(files(tmp_path / "in"), tmp_path)
    assert set(both(splits)) == set(text)
    assert splits.notes == (
        "2 left out: file of another format beside the text (.csv, .gz); a glob of them reads them",
    )
    corpus(tmp_path / "in", {"many.csv": "text\n" + "".join(f"row {i}\n" for i in range(20))})
    assert len(both(prepare(files(tmp_path / "in" / "man*.csv"), tmp_path))) == 20


def test_what_is_not_read_is_refused_with_the_list_of_what_is(tmp_path):
    for name in ("a.pdf", "a", "a.docx", "a.parquet.gz", "a.zip", "a.txt.lz4"):
        corpus(tmp_path, {name: "x"})
        message = refuse(files(tmp_path / name), tmp_path)
        assert "cannot read" in message and ".jsonl" in message and ".zst" in message


# the library's splits


@pytest.mark.parametrize("streaming", [False, True])
def test_a_split_that_is_missing_names_the_key(tmp_path, library, streaming):  # noqa: F811
    path = write(tmp_path / "p.parquet", rows())
    options = through_the_library(path, streaming=streaming)
    message = refuse(options | {"validation_split": "validation"}, tmp_path)
    assert "['train']" in message and "dataset.validation_split" in message and "null" in message
    message = refuse(options | {"train_split": "nosplit"}, tmp_path)
    assert "['train']" in message and "dataset.train_split" in message


def test_a_pipe_among_the_librarys_files_is_refused_at_once(tmp_path, library):  # noqa: F811
    os.mkfifo(tmp_path / "pipe.json")
    assert "no regular file" in refuse(
        through_the_library(tmp_path / "pipe.json", "json"), tmp_path
    )


def test_bpe_never_learns_from_the_validation_part(tmp_path):
    corpus(tmp_path, {"a.txt": "aaaa bbbb\n" * 910 + "zqzq zqzq\n" * 90})
    bpe = {"name": "bpe", "vocab_size": 300}
    splits = prepare_splits(
        {"name": "files", "path": str(tmp_path / "a.txt")}, bpe, tmp_path / "cache"
    )
    tokens = splits.validation.document(0)
    assert len(tokens) > 810, "zq has become a token"


def test_a_missing_source_is_bad_data_not_a_fault(tmp_path, caplog):
    folder = corpus(tmp_path / "in", {f"{i}.txt": f"document {i}" for i in range(20)})
    prepare(files(folder), tmp_path)
    for path in folder.iterdir():
        path.unlink()
    with caplog.at_level(logging.WARNING), pytest.raises(DataError):
        prepare(files(folder), tmp_path)


def test_a_loaded_run_has_the_tokenizer_of_its_training(tmp_path):
    """From Python a run's tokenizer is learnt again, if the cache has lost it."""
    from lengthgen import compose, load_run, train

    corpus(tmp_path, {"a.txt": "".join(f"word{i} zq{i % 7}\n" for i in range(3000))})
    words = [
        "scheme=none", "model=nano", "model.width=16", "train_length=16", "steps=2", "batch_size=2",
        "tokenizer=bpe", "tokenizer.vocab_size=300", "dataset=files", "tracking=none",
        "evaluation=quick", "evaluation.lengths=[16,32]", "validate_every=0",
        f"dataset.path={tmp_path / 'a.txt'}", f"cache={tmp_path / 'c'}",
        f"results={tmp_path / 'r'}",
    ]  # fmt: skip
    train(compose(words))
    for stored in (tmp_path / "c" / "tokenizers").iterdir():
        stored.unlink()
    run = load_run("none", tmp_path / "r")
    assert run.tokenizer.key == run.data.tokenizer
    noted = (run.folder / "provenance.json").read_text()
    assert "one document alone: its last 10 % (dataset.validation_fraction)" in noted
