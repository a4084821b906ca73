"""Data that cannot be used: one line each with what to do, and the exit code of bad data (or keys).

Rows T1 to T4 of a fault matrix (too little text, text that is none, ids that are none, data that
change), formats that are damaged, and datasets of the user's own that fail.
"""

import gzip
import json
import lzma
import os
import random
import struct

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from lengthgen.cli import main
from lengthgen.data.splits import check_lengths, prepare_splits
from lengthgen.errors import ConfigError, DataError

from .test_datasets import BYTES, corpus, library, prepare, rows, third, write  # noqa: F401

TEXT = {f"{i}.txt": f"document {i} of the text\n" * 9 for i in range(20)}
KEY = "dataset."


def jsonl(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def parquet(**columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


WHOLE = parquet(text=[f"text {i}" for i in range(50)])

# case: (files, path, more options, what the line says)
FILES = {
    # T1: too little text
    "empty folder": ({}, "", {}, "holds no file of .txt"),
    "empty file": ({"a.txt": ""}, "a.txt", {}, "expected at least one in each"),
    "one letter": ({"a.txt": "x"}, "a.txt", {}, "expected at least one in each"),
    "white space": ({"a.txt": " \n" * 999}, "a.txt", {}, "document without text"),
    "empty records": ({"a.jsonl": jsonl({"text": ""}) * 9}, "a.jsonl", {}, "without text"),
    "no records": ({"a.jsonl": "\n\n"}, "a.jsonl", {}, "nothing for the validation split"),
    "nulls": ({"a.jsonl": jsonl({"text": None}) * 9}, "", {}, "left out: record without 'text'"),
    "all test": ({"a.jsonl": jsonl({"text": "x", "split": "test"})}, "", {}, "split_key=null"),
    "only named train": ({"a.jsonl": jsonl({"text": "x", "split": "train"}) * 2}, "", {}, "0 va"),
    "one id": (
        {"a.jsonl": "".join(jsonl({"text": f"{i}", "id": 1}) for i in range(40))},
        "", {}, "40 documents share 1 names ('1'); name a column of unique ones instead of "
        "dataset.id_key=id",
    ),
    "unlucky share": (TEXT, "", {"validation_fraction": 1e-9}, "set dataset.validation_fraction=0"),
    "twice a name": (
        {"a.jsonl": jsonl(*({"text": s, "id": 1, "split": s} for s in ("train", "val", "val")))},
        "", {}, "two documents are named '1'",
    ),
    # T2: text that is none
    "latin-1": ({"a.txt": "ab é".encode("latin-1")}, "a.txt", {}, "offset 3 is not UTF-8 text"),
    "utf-16": ({"a.txt": "ab".encode("utf-16")}, "a.txt", {}, "byte 0xff at offset 0"),
    "NUL": ({"a.txt": b"ab\0c"}, "a.txt", {}, "byte 0x00 at offset 2"),
    "surrogate": ({"a.jsonl": '{"text": "\\ud800"}'}, "", {}, "set dataset.errors=replace"),
    "surrogate as bytes": ({"a.txt": b"a\xed\xa0\x80"}, "a.txt", {}, "byte 0xed at offset 1"),
    "cut character": ({"a.txt": "é".encode()[:1]}, "a.txt", {}, "byte 0xc3 at offset 0"),
    "latin-1 line": ({"a.jsonl": b'{"text": "\xe9"}'}, "", {}, "byte 0xe9 at offset 10"),
    "latin-1 csv": ({"a.csv": b"text\n\xe9\n"}, "", {}, "byte 0xe9 at offset 5"),
    "gz that is none": ({"a.txt.gz": b"plain text"}, "", {}, "Not a gzipped file"),
    "gz cut": ({"a.txt.gz": gzip.compress(b"x" * 9999)[:30]}, "", {}, "cannot read"),
    "gz damaged": ({"a.txt.gz": gzip.compress(os.urandom(999))[:-9] + bytes(9)}, "", {}, "cannot"),
    "zst that is none": ({"a.txt.zst": b"plain text"}, "", {}, "cannot read"),
    "xz that is none": ({"a.txt.xz": b"plain text"}, "", {}, "cannot read"),
    "bz2 that is none": ({"a.jsonl.bz2": b"plain text"}, "", {}, "cannot read"),
    "gz of another file": ({"a.txt.gz": gzip.compress(b"\x7fELF\0")}, "", {}, "byte 0x00"),
    "binary": ({"a.txt": bytes(range(256))}, "a.txt", {}, "byte 0x00 at offset 0"),
    # records that are none
    "not JSON": ({"a.jsonl": "text"}, "", {}, "line 1 is not JSON"),
    "cut JSON": ({"a.jsonl": jsonl({"text": "x"}) + '{"te'}, "", {}, "line 2 is not JSON"),
    "a list": ({"a.jsonl": "[1]"}, "", {}, "line 1 is a JSON list; expected one object a line"),
    "deep JSON": ({"a.jsonl": "[" * 10**5}, "", {}, "line 1 is not JSON"),
    "deep .json": ({"a.json": "[" * 10**5}, "", {}, "is not JSON"),
    "cut .json": ({"a.json": '[{"text": "x"}, '}, "", {}, "expected a list of objects"),
    "numbers": ({"a.json": "[1, 2]"}, "", {}, "record 1 is a JSON int"),
    "columns in .json": ({"a.json": '{"body": ["a", "b"]}'}, "", {}, "set dataset.text_key=COLUMN"),
    "no column": ({"a.jsonl": jsonl({"body": "x"})}, "", {}, "it has body: set dataset.text_key="),
    "no inner column": (
        {"a.jsonl": jsonl({"data": {"text": "x"}})}, "", {}, "has data.text: set dataset.text_key"
    ),
    "a number": ({"a.jsonl": jsonl({"text": 3})}, "", {}, "dataset.text_key=text holds int"),
    "a list as text": ({"a.jsonl": jsonl({"text": ["a"]})}, "", {}, "holds list, expected text"),
    "an object as text": ({"a.jsonl": jsonl({"text": {"en": "a"}})}, "", {}, "has text.en"),
    "a split of its own": (
        {"a.jsonl": jsonl({"text": "a", "split": "trian"})}, "", {}, "set dataset.split_key=null"
    ),
    "some splits": (
        {"a.jsonl": jsonl({"text": "a", "split": "train"}, {"text": "b"})}, "", {}, "split_key=null"
    ),
    "csv without the column": ({"a.csv": "n,body\n1,x\n"}, "", {}, "it has n, body: set dataset."),
    "csv with another row": ({"a.csv": "text,n\nx,1\ny\n"}, "", {}, "row 2 has 1 cells"),
    "csv with an open quote": ({"a.csv": 'text\n"x\ny'}, "", {}, "cannot read"),
    "empty csv": ({"a.csv": ""}, "", {}, "nothing for the validation split"),
    "parquet that is none": ({"a.parquet": b"PAR1 no"}, "", {}, "as Parquet"),
    "parquet cut": ({"a.parquet": WHOLE[:200]}, "", {}, "as Parquet"),
    "parquet zeroed": ({"a.parquet": WHOLE[:4] + bytes(300) + WHOLE[304:]}, "", {}, "as Parquet"),
    "parquet of numbers": ({"a.parquet": parquet(text=[1, 2])}, "", {}, "holds int, expected text"),
    "parquet without it": ({"a.parquet": parquet(body=["x"])}, "", {}, "set dataset.text_key="),
    "parquet of images": ({"a.parquet": parquet(text=[b"\x89PNG\0"])}, "", {}, "byte 0x89"),
    "arrow that is none": ({"a.arrow": b"plain text"}, "", {}, "as Arrow"),
    "empty arrow": ({"a.arrow": b""}, "", {}, "cannot read"),
    # paths
    "missing": ({}, "nothing.txt", {}, "does not exist"),
    "5,000 letters": ({}, "x" * 5000, {}, "(50"),
    "a NUL in the path": ({}, "a\0b", {}, "expected a file"),
    "unknown user": ({}, "~nobody-of-this-name/x", {}, "expected a file, a folder or a glob"),
    "a format of none": ({"a.docx": "x"}, "a.docx", {}, "cannot read .docx; expected .txt"),
    "glob of nothing": (TEXT, "*.md", {}, "holds no file"),
    "a file as a folder": ({"a.txt": "x"}, "a.txt/b", {}, "does not exist"),
    "some of no split": (
        {"train.txt": "a", "val.txt": "b", "more.txt": "c"}, "", {}, "set dataset.split_key=null"
    ),
    # keys
    "unknown key": (TEXT, "", {"text_kee": "x"}, "unknown key dataset.text_kee"),
    "a share of 0": (TEXT, "", {"validation_fraction": 0}, "expected between 0 and 1"),
    "a share of 2": (TEXT, "", {"validation_fraction": 2}, "expected between 0 and 1"),
    "a share of nan": (TEXT, "", {"validation_fraction": float("nan")}, "a finite number"),
    "errors": (TEXT, "", {"errors": "ignore"}, "expected one of strict, replace"),
    "tokens of 0": (TEXT, "", {"train_tokens": 0}, "dataset.train_tokens=0"),
    "more tokens": (TEXT, "", {"train_tokens": 10**9}, "the train split of in has"),
    "text_key": (TEXT, "", {"text_key": None}, "dataset.text_key"),
}  # fmt: skip


def refused(options, folder, tokenizer=BYTES):
    with pytest.raises((DataError, ConfigError)) as caught:
        prepare(options, folder, tokenizer)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1000
    assert not list((folder / "cache").rglob("*.tmp"))
    return message, caught.value.exit_code


def test_there_are_sixty():
    assert len(FILES) + len(HUB) + len(OWN) + len(IDS) >= 60


@pytest.mark.parametrize("case", FILES)
def test_files(tmp_path, case):
    files, path, options, says = FILES[case]
    (tmp_path / "in").mkdir()
    corpus(tmp_path / "in", files)
    path = path if path.startswith("~") else str(tmp_path / "in") + "/" * bool(path) + path
    message, code = refused({"name": "files", "path": path} | options, tmp_path)
    assert says in message
    keys = {"unknown key", "a share of 0", "a share of 2", "a share of nan", "errors", "text_key"}
    assert code == (2 if case in {*keys, "tokens of 0"} else 3)
    assert KEY in message or str(tmp_path / "in") in message or "two documents" in message


@pytest.mark.parametrize("kind", ["fifo", "device", "folder named like a file"])
def test_what_is_no_file(tmp_path, kind):
    path = tmp_path / "a.txt"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    message, code = refused({"name": "files", "path": str(path)}, tmp_path)
    assert code == 3 and ("no regular file" in message or "holds no file" in message)


@pytest.mark.parametrize("ending", [".jsonl", ".txt", ".csv"])
def test_a_great_many_empty_lines(tmp_path, ending):
    (tmp_path / f"a{ending}").write_bytes(b"\n" * 300_000)
    message, code = refused({"name": "files", "path": str(tmp_path / f"a{ending}")}, tmp_path)
    assert code == 3 and "expected at least one in each" in message


def test_a_byte_order_mark_and_line_ends_stay(tmp_path):
    text = {n: b"\xef\xbb\xbf" + t.replace("\n", "\r\n").encode() for n, t in TEXT.items()}
    options = {"name": "files", "path": str(corpus(tmp_path / "in", text))}
    splits = prepare(options | {"validation_fraction": 0.4}, tmp_path)
    assert bytes(splits.train.document(0)[1:6].tolist()) == b"\xef\xbb\xbfdo"


# T1: windows that do not fit


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("missing", [-1, 0, 1, 10**6])
def test_windows_that_just_fit_and_just_do_not(tmp_path, across, missing):
    options = {"name": "files", "path": str(corpus(tmp_path / "in", TEXT))}
    splits = prepare(options | {"validation_fraction": 0.4}, tmp_path)
    have = splits.train.n_tokens if across else int(splits.train.lengths.max())
    longest = int(splits.validation.lengths.max())
    for lengths in ({"train_length": have - 1 + missing, "eval_length": 4},
                    {"train_length": 4, "eval_length": longest - 1 + missing}):  # fmt: skip
        if missing <= 0:
            check_lengths(splits, **lengths, cross_documents=across)
            continue
        with pytest.raises(DataError, match=r"length.* needs .* tokens") as caught:
            check_lengths(splits, **lengths, cross_documents=across)
        assert "\n" not in str(caught.value)


# T4: data that change


@pytest.mark.parametrize("change", ["append", "one byte", "swap", "rename", "remove", "add"])
def test_changed_data_are_other_data(tmp_path, change):
    folder = corpus(tmp_path / "in", TEXT)
    options = {"name": "files", "path": str(folder), "validation_fraction": 0.4}
    before = prepare(options, tmp_path)
    a, b = folder / "3.txt", folder / "4.txt"
    raw = a.read_bytes()
    if change == "append":
        a.write_bytes(raw + b"x")
    elif change == "one byte":
        a.write_bytes(b"D" + raw[1:])
    elif change == "swap":
        a.write_bytes(b.read_bytes())
        b.write_bytes(raw)
    elif change == "rename":
        a.rename(folder / "99.txt")
    elif change == "remove":
        a.unlink()
    else:
        (folder / "new.txt").write_text("new text")
    assert prepare(options, tmp_path).fingerprint != before.fingerprint


# files with damage in them


def arrow(kind):
    table, sink = pa.Table.from_pylist(rows(split=third)), pa.BufferOutputStream()
    if kind == "stream":
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        pa.feather.write_feather(table, sink, compression=kind)
    return sink.getvalue().to_pybytes()


DAMAGED = {
    "a.jsonl": jsonl(*rows(split=third)).encode(),
    "a.json": json.dumps(rows(split=third)).encode(),
    "a.csv": b"text,split\n" + b"".join(b'"text %d",train\n' % i for i in range(20)),
    "a.parquet": parquet(text=[f"text {i}" for i in range(20)]),
    "a.arrow": arrow("uncompressed"),
    "zstd.arrow": arrow("zstd"),
    "stream.arrow": arrow("stream"),
    "a.jsonl.gz": gzip.compress(jsonl(*rows(split=third)).encode()),
    "a.jsonl.xz": lzma.compress(jsonl(*rows(split=third)).encode()),
}


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", DAMAGED)
def test_random_damage_is_read_or_one_line(tmp_path, name, count):
    """An offset of Arrow that is not checked would end the process."""
    generator, refusals = random.Random(name), 0
    path = tmp_path / name
    for _ in range(count):
        raw = bytearray(DAMAGED[name])
        for _ in range(generator.choice((1, 1, 3))):
            at = generator.randrange(len(raw))
            length = generator.randrange(9)
            raw[at : at + length] = generator.randbytes(generator.choice((0, length)))
        path.write_bytes(raw)
        try:
            prepare({"name": "files", "path": str(path)}, tmp_path)
        except DataError as error:
            refusals += 1
            assert "\n" not in str(error) and len(str(error)) < 1000
    assert refusals


# the library's files

HUB = {
    "no such folder": ({"path": "./nowhere"}, "dataset=files"),
    "no such file": ({"data_files": "nowhere.parquet"}, "dataset.data_files=nowhere.parquet"),
    "no files": ({"data_files": None}, "expected a file or a glob"),
    "another column": ({"text_key": "body"}, "set dataset.text_key=COLUMN"),
    "another inner column": ({"text_key": "text.body"}, "set dataset.text_key=COLUMN"),
    "numbers": ({"text_key": "number"}, "dataset.text_key=number holds int"),
    "another split": ({"validation_split": "valid"}, "dataset.validation_split"),
    "another train split": ({"train_split": "trian"}, "set dataset.train_split"),
    "damaged": ({"data_files": "BROKEN"}, "cannot be read"),
    "5,000 letters": ({"path": "/" + "x" * 5000}, "is no folder"),
    "no documents": ({"max_documents": 0}, "dataset.max_documents=0"),
    "a share of 1": ({"validation_fraction": 1.0}, "expected between 0 and 1"),
}


@pytest.mark.parametrize("case", HUB)
def test_the_librarys_files(tmp_path, library, case):  # noqa: F811
    changes, says = HUB[case]
    path = write(tmp_path / "p.parquet", rows(number=lambda i: i))
    (tmp_path / "broken.parquet").write_bytes(WHOLE[:100])
    if changes.get("data_files") == "BROKEN":
        changes = {"data_files": str(tmp_path / "broken.parquet")}
    options = {"name": "huggingface", "path": "parquet", "data_files": str(path)}
    options |= {"validation_split": None, "streaming": True}
    message, code = refused(options | changes, tmp_path)
    assert says in message and code == (2 if case in ("no documents", "a share of 1") else 3)


# a dataset of the user's own

CODE = """
from dataclasses import dataclass
import numpy as np
from lengthgen.data.datasets.base import Dataset, Document

@dataclass
class Config:
    label: str = "mine"

class Mine(Dataset):
    Config = Config
    def key(self):
        return "mine"
    def documents(self, split):
        for i in range(9):
            yield Document(f"{split}{i}", f"{split} {i}".encode() * 9)
"""
# case: (what of the code is replaced, by what, the line of the fault, what the line says, code)
OWN = {
    "syntax": ("class Mine", "clas Mine", 10, "SyntaxError: invalid syntax", 2),
    "indentation": ("    def key", "  def key", 12, "IndentationError", 2),
    "import": ("import numpy", "import numpyy", 3, "No module named 'numpyy'", 2),
    "name": ("Config = Config", "Config = Confg", 11, "NameError", 2),
    "exit": ("\n@data", "\nimport sys; sys.exit(0)\n@data", 6, "SystemExit: 0", 2),
    "NUL": ("import numpy", "\0", 3, "null bytes", 2),
    "no class": ("(Dataset)", "", None, "defines 0 subclasses of Dataset", 2),
    "no options": ("    Config = Config\n", "", None, "has no `Config`", 2),
    "options that are none": ("@dataclass", "", None, "has no `Config`", 2),
    "key raises": ('return "mine"', "return 1 / 0", 13, "ZeroDivisionError", 2),
    "key of another kind": ('return "mine"', "return 3", None, "key() is int, expected a", 2),
    "documents raise": ("for i in range(9)", "for i in {}['x']", 15, "KeyError", 3),
    "at the third": ("            yield", "            [1][i]\n            yield", 16, "Index", 3),
    "not a document": ("yield Document", "yield", None, "documents() gave tuple; expected", 3),
    "a number as name": ('Document(f"{split}{i}"', "Document(i", None, "gave Document; exp", 3),
    "text as str": (".encode()", "", None, "is str; expected bytes: text.encode()", 3),
    "names twice": ('f"{split}{i}"', '"a"', None, "two documents are named 'a'", 3),
    "nothing": ("for i in range(9)", "for i in ()", None, "nothing for the validation split", 3),
}  # fmt: skip
# what documents of symbols hold, and what the line says (T3)
IDS = {
    "too large": ("[0, 1, 5]", "token id 5 at position 3; expected 0 to 4"),
    "the begin token": ("[4, 4, 9]", "token id 9 at position 3"),
    "negative": ("[0, -1]", "token id -1 at position 2"),
    "floats": ("[0.0, 1.0]", "token ids of type float64"),
    "words": ("['a']", "token ids of type"),
    "rows": ("[[0, 1]]", ""),
    "huge": ("[2**40]", f"token id {2**40}"),
}


def own(folder, code):
    place = corpus(folder / "mine" / "dataset", {"mine.py": code})
    return place, place / "mine.py"


def refused_own(tmp_path, place):
    with pytest.raises((DataError, ConfigError)) as caught:
        prepare_splits({"name": "mine"}, BYTES, tmp_path / "cache", [place])
    assert "\n" not in str(caught.value)
    return str(caught.value), caught.value.exit_code


@pytest.mark.parametrize("case", OWN)
def test_own_code(tmp_path, case):
    before, after, line, says, code = OWN[case]
    assert CODE.count(before) >= 1
    place, file = own(tmp_path, CODE.replace(before, after, 1))
    message, exit_code = refused_own(tmp_path, place)
    assert says in message and exit_code == code
    assert (
        line is None
        or (case == "NUL" and str(file) in message)
        or (f"{file}, line {line}: " in message)
    )


@pytest.mark.parametrize("case", IDS)
def test_own_symbols(tmp_path, case):
    ids, says = IDS[case]
    code = CODE.replace("    Config = Config\n", "    Config = Config\n    symbols = 4\n")
    code = code.replace('f"{split} {i}".encode() * 9', f"np.array({ids})")
    message, exit_code = refused_own(tmp_path, own(tmp_path, code)[0])
    assert says in message and exit_code == 3


# hook: (its body, what the line says, in the line of the body or none)
HOOKS = [
    ("answers", "return {}['x']", "KeyError: 'x'", True),
    ("answers", "return symbols", "answers() gave int64 of shape (4,), expected true or", False),
    ("answers", "return symbols[1:] > 0", "gave bool of shape (3,)", False),
    ("answers", "return 'x'", "answers() gave str, no array", False),
    ("floors", "return 1 / 0", "ZeroDivisionError", True),
    ("floors", "return np.zeros(2)", "floors() gave float64 of shape (2,), expected num", False),
    ("floors", "import sys; sys.exit(0)", "SystemExit: 0", True),
    ("distances", "return symbols.nothing", "AttributeError", True),
    ("distances", "return symbols / 2", "distances() gave float64", False),
]


@pytest.mark.parametrize(("hook", "body", "says", "placed"), HOOKS)
def test_own_hooks(tmp_path, hook, body, says, placed):
    """They are called long after the documents were read: in training and by evaluations."""
    told = "symbols = 4\n    retrieves = True\n    whole_documents = True\n"
    told += "    answered = True\n" if hook == "answers" else ""
    code = CODE.replace("    Config = Config\n", f"    Config = Config\n    {told}")
    code = code.replace('f"{split} {i}".encode() * 9', "np.array([0, 1, 2, 3])")
    place, file = own(tmp_path, code + f"    def {hook}(self, symbols, *more):\n        {body}\n")
    splits = prepare_splits({"name": "mine"}, BYTES, tmp_path / "cache", [place])
    with pytest.raises(DataError) as caught:
        if hook == "answers":
            splits.answers(np.arange(4))
        else:
            {"floors": splits.floors, "distances": splits.floors.distances}[hook](0)
    line = (code + "x").count("\n") + 2
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert (
        f"{file}, line {line}: " in str(caught.value) if placed else str(file) in str(caught.value)
    )


def test_an_own_dataset_that_is_right(tmp_path):
    place, _ = own(tmp_path, CODE)
    splits = prepare_splits({"name": "mine"}, BYTES, tmp_path / "cache", [place])
    assert splits.train.n_documents == splits.validation.n_documents == 9


def test_code_of_another_kind(tmp_path, capsys):
    corpus(tmp_path / "scheme", {"mine.py": "x = 1\nx.y\n", "mine.yaml": "name: mine # mine\n"})
    code = main.main(["train", "+scheme=mine", "tracking=none", f"--config-dir={tmp_path}"])
    said = capsys.readouterr().err
    assert code == 2 and "mine.py, line 2: AttributeError" in said and "Traceback" not in said


# the command


@pytest.mark.parametrize(
    "words, code, says",
    [
        (["dataset=files", f"dataset.path={'x' * 5000}"], 3, "(5000 characters)"),
        (["dataset=files"], 2, "dataset.path"),
        (["dataset=files", "dataset.path=EMPTY"], 3, "holds no file"),
        (["dataset=mine"], 2, "mine.py, line 10: SyntaxError"),
        (["dataset=huggingface", "dataset.path=./nowhere"], 3, "is no folder"),
    ],
)
def test_the_command_says_one_line(tmp_path, capsys, words, code, says):
    own(tmp_path, CODE.replace("class Mine", "clas Mine"))
    corpus(tmp_path / "mine" / "dataset", {"mine.yaml": "name: mine # mine\n"})
    (tmp_path / "empty").mkdir()
    words = [word.replace("EMPTY", str(tmp_path / "empty")) for word in words]
    places = [f"results={tmp_path / 'r'}", f"cache={tmp_path / 'c'}", "tracking=none"]
    assert main.main(["train", *words, *places, f"--config-dir={tmp_path / 'mine'}"]) == code
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and "Traceback" not in said


def test_ids_of_more_than_16_bits(tmp_path):
    """What fits no uint16 is stored wider, and what fits no vocabulary is refused."""
    from lengthgen.data.tokens import write_store

    ones = np.ones(70_000, int)
    store = write_store(
        tmp_path / "s",
        [("a", np.array([65_535, 65_536, 69_999]))],
        vocab_size=70_000,
        token_bytes=ones,
    )
    assert store.document(0).tolist() == [65_535, 65_536, 69_999]
    raw = (tmp_path / "s" / "tokens.bin").read_bytes()
    assert struct.unpack("<3i", raw) == (65_535, 65_536, 69_999)
    with pytest.raises(DataError, match="token_bytes has shape"):
        write_store(tmp_path / "t", [("a", np.array([1]))], vocab_size=70_001, token_bytes=ones)
