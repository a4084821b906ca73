"""Tokenisers: every text comes back from its ids, and ids know their bytes. No network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import lengthgen
from lengthgen.data import pieces, tokenizers
from lengthgen.errors import ConfigError, DataError, DiskError

ROOT = Path(lengthgen.__file__).parents[1]
TEXTS = [
    "the cat sat on the mat; the cat didn't sit on the hat.\n" * 40,
    "    def naïve(x):\n\t\treturn '日本語' * x  # 🙂\r\n\n\n" * 20,
    "<|endoftext|> and <|begin|> are text here",
]
ENCODED = [text.encode() for text in TEXTS]


def made(options, cache, texts=ENCODED):
    return tokenizers.configured(options).build(lambda: iter(texts), cache)


@pytest.fixture(scope="module")
def gpt2_like(tmp_path_factory):
    """A small tokenizer.json of GPT-2's form: byte-level BPE with <|endoftext|> as its last id."""
    import tokenizers as library

    model = library.Tokenizer(library.models.BPE())
    model.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = library.trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(TEXTS, trainer)
    model.add_special_tokens(["<|endoftext|>"])
    path = tmp_path_factory.mktemp("gpt2") / "tokenizer.json"
    model.save(str(path))
    return path


@pytest.fixture(params=["bytes", "bpe", "gpt2"])
def tokenizer(request, tmp_path, gpt2_like):
    options = {"bytes": {}, "bpe": {"vocab_size": 300}, "gpt2": {"path": str(gpt2_like)}}[
        request.param
    ]
    return made({"name": request.param, **options}, tmp_path)


ANY_TEXT = [
    *TEXTS,
    "",
    " ",
    "\n\n",
    "a",
    "\u2028\u00a0x\x7f\x01",
    "🙂" * 50,
    "never seen: Ξένος žlutý",
]


@pytest.mark.parametrize("text", ANY_TEXT)
def test_round_trip_and_bytes_of_ids(tokenizer, text):
    ids = tokenizer.encode(text)
    assert ids.ndim == 1 and ids.dtype.kind in "iu"
    assert np.array_equal(ids, tokenizer.encode(text.encode()))
    assert tokenizer.decode(ids) == text.encode()
    assert tokenizer.token_bytes[ids].sum() == len(text.encode())
    assert tokenizer.begin not in ids


def test_vocabulary(tokenizer):
    assert tokenizer.vocab_size == len(tokenizer.pieces) == tokenizer.token_bytes.size
    assert tokenizer.begin == tokenizer.vocab_size - 1
    assert tokenizer.token_bytes[tokenizer.begin] == 0 and (tokenizer.token_bytes[:-1] > 0).all()
    assert set(map(lambda value: bytes([value]), range(256))) <= set(tokenizer.pieces)


def test_bytes_are_bytes(tmp_path):
    coder = made({"name": "bytes"}, tmp_path)
    assert (coder.vocab_size, coder.begin, coder.key) == (257, 256, "bytes")
    assert coder.encode(bytes(range(256))).tolist() == list(range(256))
    assert list(tmp_path.iterdir()) == []


def test_bpe_merges_and_keeps_to_its_size(tmp_path):
    coder = made({"name": "bpe", "vocab_size": 300}, tmp_path)
    assert coder.vocab_size == 300 and b" the" in coder.pieces
    assert len(coder.encode(TEXTS[0])) < len(TEXTS[0]) / 2
    assert made({"name": "bpe", "vocab_size": 257}, tmp_path).encode("abc").size == 3


def test_bpe_is_cached_by_its_training_text(tmp_path, monkeypatch):
    first = made({"name": "bpe", "vocab_size": 300}, tmp_path)
    stored = list((tmp_path / "tokenizers").iterdir())
    assert len(stored) == 1
    monkeypatch.setattr(tokenizers.Bpe, "_train", None)  # a second training would fail
    again = made({"name": "bpe", "vocab_size": 300}, tmp_path)
    assert again.key == first.key and again.pieces == first.pieces
    monkeypatch.undo()
    other = made({"name": "bpe", "vocab_size": 300}, tmp_path, [ENCODED[0] + b"!", *ENCODED[1:]])
    assert len(list((tmp_path / "tokenizers").iterdir())) == 2
    stored[0].write_text("{")  # damaged: learnt anew
    assert made({"name": "bpe", "vocab_size": 300}, tmp_path).key == first.key
    assert other.vocab_size == 300


def test_bpe_training_is_deterministic(tmp_path):
    """Another process, cache and hash seed learn the same merges."""
    script = (
        "import json, sys; from pathlib import Path; from lengthgen.data import tokenizers as t; "
        "texts = [x.encode() for x in json.load(sys.stdin)]; "
        "bpe = t.configured({'name': 'bpe', 'vocab_size': 300}); "
        "print(bpe.build(lambda: texts, Path(sys.argv[1])).key)"
    )
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "7",
        "TOKENIZERS_PARALLELISM": "false",
        "LC_ALL": "C",
    }
    command = [sys.executable, "-c", script, str(tmp_path / "other")]
    done = subprocess.run(
        command,
        input=json.dumps(TEXTS),
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.strip() == made({"name": "bpe", "vocab_size": 300}, tmp_path / "here").key


def test_bpe_learns_from_the_first_bytes_only(tmp_path):
    short = made({"name": "bpe", "vocab_size": 300, "training_bytes": 500}, tmp_path / "a")
    assert (
        short.pieces
        == made(
            {"name": "bpe", "vocab_size": 300, "training_bytes": 500},
            tmp_path / "b",
            [ENCODED[0], b"zq zq" * 99],
        ).pieces
    )
    assert short.pieces != made({"name": "bpe", "vocab_size": 300}, tmp_path / "c").pieces


def test_long_texts_encode_as_if_in_one_piece(gpt2_like, tmp_path):
    """A text above the size at which it is cut has the ids that the library gives for the whole."""
    import tokenizers as library

    text = "".join(f"word{i % 97} don't  stop,\n\n   x = {i}\t\n" for i in range(20_000))
    model = library.Tokenizer.from_file(str(gpt2_like))
    assert len(list(pieces.pieces(text, model.pre_tokenizer.pre_tokenize_str))) > 1
    whole = model.encode(text).ids
    assert made({"name": "gpt2", "path": str(gpt2_like)}, tmp_path).encode(text).tolist() == whole


def test_gpt2_identity_follows_its_file(gpt2_like, tmp_path):
    ours = tokenizers.configured({"name": "gpt2", "path": str(gpt2_like)})
    assert ours.request() != tokenizers.configured({"name": "gpt2"}).request()
    coder = ours.build(list, tmp_path)
    assert coder.vocab_size == 301 and coder.key.startswith("gpt2-301-")


@pytest.mark.parametrize(
    "options, error, says",
    [
        ({"name": "byte"}, ConfigError, "nearest: bytes"),
        ({}, ConfigError, "has no name"),
        ({"name": "bytes", "vocab_size": 300}, ConfigError, "unknown key tokenizer.vocab_size"),
        ({"name": "bpe", "vocabsize": 300}, ConfigError, "vocab_size"),
        ({"name": "bpe", "vocab_size": 256}, ConfigError, "expected 257"),
        ({"name": "bpe", "vocab_size": "many"}, ConfigError, "tokenizer.vocab_size"),
        ({"name": "bpe", "training_bytes": 0}, ConfigError, "positive"),
        ({"name": "gpt2", "path": "/no/such.json"}, DataError, "/no/such.json: No such file"),
    ],
)
def test_bad_options_are_one_line(options, error, says, tmp_path):
    with pytest.raises(error) as caught:
        made(options, tmp_path)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == {ConfigError: 2, DataError: 3}[error]


@pytest.mark.parametrize(
    "content, says", [("{}", "is not a tokenizer.json"), ("not json", "is not a tokenizer.json")]
)
def test_a_file_that_is_no_tokenizer(content, says, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(DataError, match=says) as caught:
        made({"name": "gpt2", "path": str(path)}, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_is_not_byte_level(tmp_path):
    import tokenizers as library

    model = library.Tokenizer(
        library.models.WordLevel({"日": 0, "<|endoftext|>": 1}, unk_token="日")
    )
    model.save(str(tmp_path / "t.json"))
    with pytest.raises(DataError, match="not byte-level"):
        made({"name": "gpt2", "path": str(tmp_path / "t.json")}, tmp_path)


def test_unwritable_cache_is_a_disk_error(tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DiskError) as caught:
        made({"name": "bpe", "vocab_size": 300}, tmp_path / "cache")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("offline", [{"HF_HUB_OFFLINE": "1"}, {}])
def test_gpt2_without_the_hub_is_one_line_without_waiting(offline, tmp_path, refusing):
    script = (
        # the library sleeps between its attempts
        "import time; waits = []; time.sleep = waits.append\n"
        "from lengthgen.data import hub, tokenizers as t\n"
        "from lengthgen.errors import DataError; hub.SECONDS = 60.0\n"
        "try: t.configured({'name': 'gpt2'}).build(list, None)\n"
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
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    waits, message = done.stdout.strip().split(" ", 1)
    assert waits == "0"
    assert (
        "tokenizer.json of openai-community/gpt2 cannot be fetched" in message
        and "tokenizer=bpe" in message
        and "\n" not in message
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs" / "tokenizer").glob("*.yaml")), ids=lambda path: path.stem
)
def test_yaml_and_dataclass_agree(path):
    options = yaml.safe_load(path.read_text())
    assert next(iter(options)) == "name" and options["name"] == path.stem
    given = {key: value for key, value in options.items() if key != "name"}
    assert tokenizers.configured(options) == tokenizers.KINDS[path.stem]()
    assert set(given) == set(tokenizers.KINDS[path.stem].__dataclass_fields__)


def test_every_tokenizer_has_a_yaml():
    assert {path.stem for path in (ROOT / "configs" / "tokenizer").glob("*.yaml")} == set(
        tokenizers.KINDS
    )
