"""Damage to the cache: flips, cuts and zeroed pages over all its files are found or harmless."""

import json
import logging
import random
import struct

import numpy as np
import pytest

from lengthgen import files
from lengthgen.data.splits import prepare_splits
from lengthgen.data.tokens import open_store, write_store
from lengthgen.errors import DataError

from .test_datasets import corpus, prepare

BPE = {"name": "bpe", "vocab_size": 300}
PAGE = 4096


def flip(raw, generator):
    at = generator.randrange(8 * len(raw))
    raw[at // 8] ^= 1 << at % 8


def cut(raw, generator):
    del raw[generator.randrange(len(raw)) :]


def zero(raw, generator):
    at = generator.randrange(len(raw)) // PAGE * PAGE
    raw[at : at + PAGE] = bytes(len(raw[at : at + PAGE]))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(options, cache, what the splits are, the bytes of every file of the cache)"""
    folder = tmp_path_factory.mktemp("cache_faults")
    words = "".join(f"word{i % 40} x{i}\n" for i in range(700))
    text = {f"{i}.txt": words[i * 90 :] for i in range(30)} | {"empty.txt": ""}
    options = {"name": "files", "path": str(corpus(folder / "in", text))}
    splits = prepare(options, folder, BPE)
    files = {path: path.read_bytes() for path in (folder / "cache").rglob("*") if path.is_file()}
    assert len(files) == 12 and splits.notes  # two stores of five, splits.json, the tokenizer
    return options, folder / "cache", content(splits), files


def content(splits):
    stores = [splits.train, splits.validation]
    return (
        *(splits.tokenizer, splits.vocab_size, splits.fingerprint, splits.notes),
        *(store.tokens(0, store.n_tokens).tolist() for store in stores),
        *(store.names for store in stores),
        *(store.token_bytes.tolist() for store in stores),
    )


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", [flip, cut, zero])
def test_random_faults(built, fault, count, caplog):
    options, cache, before, files = built
    generator = random.Random(fault.__name__)
    n_warned = 0
    for _ in range(count):
        path = generator.choice(sorted(files))
        raw = bytearray(files[path])
        fault(raw, generator)
        path.write_bytes(raw)
        if path.parent.name == "tokenizers":  # it is read when a store has to be built
            next(path for path in files if path.name == "splits.json").unlink()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert content(prepare_splits(options, BPE, cache)) == before, path
        assert len(caplog.records) <= 1
        n_warned += len(caplog.records)
        for damaged, whole in files.items():
            damaged.parent.mkdir(parents=True, exist_ok=True)
            damaged.write_bytes(whole)
    assert n_warned > 0.8 * count  # some flips are in white space


def store_of(folder, n_tokens=3000, vocab_size=300):
    ids = np.arange(n_tokens) % vocab_size
    return write_store(
        folder, [("a", ids)], vocab_size=vocab_size, token_bytes=np.ones(vocab_size, int)
    )


def test_every_bit_of_a_stores_description(tmp_path):
    """Its vocab_size among them: no id beyond it is ever let through."""
    store = store_of(tmp_path / "s")
    path = tmp_path / "s" / "store.json"
    whole = path.read_bytes()
    harmless, bits = 0, range(0, 8 * len(whole), 7)
    for bit in bits:
        raw = bytearray(whole)
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        try:
            opened = open_store(tmp_path / "s")
        except DataError as error:
            assert "damaged" in str(error) and "\n" not in str(error)
        else:
            harmless += 1
            assert (opened.vocab_size, opened.fingerprint) == (300, store.fingerprint)
    assert harmless < 0.1 * len(bits)


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 299},
        {"vocab_size": 301},
        {"vocab_size": 70_000},
        {"vocab_size": "300"},
        {"vocab_size": -1},
        {"n_tokens": 2999},
        {"n_documents": 2},
        {"fingerprint": "0" * 16},
        {"files": {}},
        {"files": None},
        {"format": None},
    ],
)
def test_a_changed_description_is_damage(tmp_path, changes):
    store_of(tmp_path / "s")
    path = tmp_path / "s" / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DataError, match="damaged"):
        open_store(tmp_path / "s")


@pytest.mark.slow
def test_changed_tokens_of_a_large_store_are_found(tmp_path):
    """Above 256 MiB only the sizes were compared once."""
    ids = np.zeros(140 << 20, np.uint16)
    write_store(tmp_path / "s", [("a", ids)], vocab_size=257, token_bytes=np.ones(257, int))
    with open(tmp_path / "s" / "tokens.bin", "r+b") as file:
        file.seek(270 << 20)
        file.write(struct.pack("<50H", *range(50)))
    with pytest.raises(DataError, match="has changed since it was written"):
        open_store(tmp_path / "s")


# splits.json and other sealed files


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "null",
        "3",
        '"x"',
        '{"tokenizer": "bytes"}',
        '{"notes": []}',
        '{"tokenizer": 3, "notes": []}',
        '{"tokenizer": "bytes", "notes": 3}',
        "[" * 100_000,
        "",
        "\0" * 50,
    ],
)
def test_a_description_of_splits_without_its_keys_is_made_anew(tmp_path, text, caplog):
    options = {"name": "lag_copy", "train_documents": 3, "document_length": 50}
    first = prepare(options, tmp_path)
    (path,) = (tmp_path / "cache").rglob("splits.json")
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert prepare(options, tmp_path).fingerprint == first.fingerprint
    assert len(caplog.records) == 1 and "damaged" in caplog.text and "rebuilding" in caplog.text


def test_a_cache_from_before_there_were_sums_is_read(tmp_path, monkeypatch):
    options = {"name": "lag_copy", "train_documents": 3, "document_length": 50}
    first = prepare(options, tmp_path)
    (path,) = (tmp_path / "cache").rglob("splits.json")
    described = json.loads(path.read_text())
    assert described.pop("seal")
    path.write_text(json.dumps(described))
    monkeypatch.setattr("lengthgen.data.splits.write_store", None)  # to build again would fail
    assert prepare(options, tmp_path).fingerprint == first.fingerprint


def test_a_tokenizer_from_before_there_were_sums_is_read(tmp_path, monkeypatch):
    from lengthgen.data import tokenizers

    def bpe():
        return tokenizers.configured(BPE).build(lambda: [b"some text " * 50], tmp_path)

    first = bpe()
    (path,) = tmp_path.rglob("bpe-*.json")
    path.write_text(json.dumps(json.loads(path.read_text())["tokenizer"]))
    monkeypatch.setattr(tokenizers.Bpe, "_train", None)
    assert bpe().key == first.key


def test_every_bit_of_a_sealed_file(tmp_path):
    path, before = tmp_path / "x.json", {"losses": [1.5, float("inf")], "label": "é", "n": 3}
    files.write_sealed(path, before)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        raw = bytearray(whole)
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        try:
            read = files.read_sealed(path)
        except DataError as error:
            assert "\n" not in str(error)
        else:
            # a flip in the word seal itself leaves the content as it was
            assert {name: read[name] for name in before} == before
    assert files.read_sealed(tmp_path / "none.json") is None
