"""dataset.train_tokens: training corpora of fixed size, each the beginning of every larger one."""

import numpy as np
import pytest

from lengthgen import compose
from lengthgen.data.splits import make_dataset, prepare_splits
from lengthgen.errors import ConfigError, DataError
from lengthgen.runs import prepare, train_config

BYTES = {"name": "bytes"}
BPE = {"name": "bpe", "vocab_size": 270}
SYNTHETIC = {"name": "lag_copy", "train_documents": 5, "document_length": 40}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for i in range(40):
        words = " ".join(f"w{i * j % 17}" for j in range(20 + i))
        (folder / f"{i:02d}.txt").write_text(f"document {i}: {words}\n")
    return {"name": "files", "path": str(folder), "validation_fraction": 0.2}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def limited(dataset, cache, n_tokens, tokenizer=BYTES):
    return prepare_splits(dataset | {"train_tokens": n_tokens}, tokenizer, cache)


def stream(splits):
    return splits.train.tokens(0, splits.train.n_tokens).numpy()


@pytest.mark.parametrize("tokenizer", [BYTES, BPE], ids=["bytes", "bpe"])
def test_a_corpus_is_the_beginning_of_every_larger_one(text, cache, tokenizer):
    everything = prepare_splits(text, tokenizer, cache)
    sizes = [1, 30, 200, 1000, everything.train.n_tokens]
    corpora = [limited(text, cache, size, tokenizer) for size in sizes]
    for size, smaller, larger in zip(sizes, corpora, corpora[1:], strict=False):
        assert smaller.train.n_tokens == size
        assert np.array_equal(stream(smaller), stream(larger)[:size])
        assert smaller.train.names == larger.train.names[: smaller.train.n_documents]
    assert len({splits.fingerprint for splits in [*corpora, everything]}) == len(sizes) + 1
    # a whole split is the same documents, in another order
    assert set(corpora[-1].train.names) == set(everything.train.names)
    assert corpora[-1].train.names != everything.train.names


def test_documents_are_whole_but_for_the_last_one(text, cache):
    everything, small = prepare_splits(text, BYTES, cache), limited(text, cache, 700)
    lengths = dict(zip(everything.train.names, everything.train.lengths, strict=True))
    kept = dict(zip(small.train.names, small.train.lengths, strict=True))
    *whole, last = kept
    assert len(whole) > 2 and all(kept[name] == lengths[name] for name in whole)
    assert 0 < kept[last] <= lengths[last]


@pytest.mark.parametrize("tokenizer", [BYTES, BPE], ids=["bytes", "bpe"])
def test_validation_and_tokens_are_those_of_the_whole_text(text, cache, tokenizer):
    everything, small = (
        prepare_splits(text, tokenizer, cache),
        limited(text, cache, 300, tokenizer),
    )
    assert small.validation.fingerprint == everything.validation.fingerprint
    assert small.tokenizer == everything.tokenizer and small.vocab_size == everything.vocab_size


def test_null_is_the_whole_split_and_its_fingerprint(text, cache):
    assert limited(text, cache, None).fingerprint == prepare_splits(text, BYTES, cache).fingerprint
    assert make_dataset(text).train_tokens is None
    stores = len(list((cache / "stores").iterdir()))
    limited(text, cache, None)
    assert len(list((cache / "stores").iterdir())) == stores, "built again"


def test_synthetic_documents_keep_their_order(cache):
    everything, small = prepare_splits(SYNTHETIC, BYTES, cache), limited(SYNTHETIC, cache, 100)
    assert np.array_equal(stream(small), stream(everything)[:100])
    assert list(small.train.lengths) == [41, 41, 18]


def test_where_windows_are_whole_documents_none_is_cut(cache):
    task = {"name": "copy", "train_documents": 9, "document_length": 20, "lengths": [20, 30]}
    assert set(limited(task, cache, 100).train.lengths) == {21}
    assert limited(task, cache, 100).train.n_documents == 4
    with pytest.raises(DataError, match="first document of copy has 21 tokens"):
        limited(task, cache, 20)


@pytest.mark.parametrize("size", [10**6, 206])
def test_more_than_there_is_is_refused(text, cache, size):
    for dataset in (text, SYNTHETIC):
        splits = prepare_splits(dataset, BYTES, cache)
        if size > splits.train.n_tokens:
            expected = f"train_tokens={size}: .* has {splits.train.n_tokens} tokens"
            with pytest.raises(DataError, match=expected):
                limited(dataset, cache, size)


@pytest.mark.parametrize("wrong", [0, -3, True, "many"])
def test_what_is_no_size_is_refused(text, wrong):
    with pytest.raises(ConfigError, match=r"dataset\.train_tokens="):
        make_dataset(text | {"train_tokens": wrong})


def test_a_dataset_of_the_users_own_has_it_too(tmp_path, cache):
    folder = tmp_path / "mine" / "dataset"
    folder.mkdir(parents=True)
    (folder / "sevens.yaml").write_text("name: sevens # sevens\n")
    (folder / "sevens.py").write_text(
        "from dataclasses import dataclass\n"
        "from lengthgen.data.datasets.base import Dataset, Document\n\n"
        "@dataclass\nclass Config:\n    pass\n\n"
        "class Sevens(Dataset):\n"
        "    Config = Config\n    label = 'sevens'\n\n"
        "    def documents(self, split):\n"
        "        for i in range(9):\n"
        "            yield Document(f'{split}{i}', f'{split}{i}'.encode() * 9)\n\n"
        "    def key(self):\n        return 'sevens'\n"
    )
    words = ["dataset=sevens", "dataset.train_tokens=123", f"cache={cache}", "train_length=16"]
    config = compose([*words, "tracking=none"], config_dir=tmp_path / "mine")
    checked = train_config.check(_plain(config), [tmp_path / "mine"])
    assert prepare.prepare(checked).splits.train.n_tokens == 123


def test_the_run_is_another_one_only_where_it_is_set(cache):
    words = ["dataset=lag_copy", "dataset.train_documents=5", f"cache={cache}", "train_length=64"]
    words.append("dataset.document_length=300")

    def run_id(*more):
        config = compose([*words, "tracking=none", *more])
        return prepare.prepare(train_config.check(_plain(config), [])).id

    assert run_id() == run_id("dataset.train_tokens=null")
    assert len({run_id(), run_id("dataset.train_tokens=400"), run_id("seed=1")}) == 3


def _plain(config):
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True)
