"""Long texts: cut where no id changes, bounded where the library would never end, interruptible."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers as library

import lengthgen
from lengthgen.data import interruptible, pieces, tokenizers
from lengthgen.errors import DataError

ROOT = Path(lengthgen.__file__).parents[1]
RUNS = library.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
SCRIPTS = {
    "english": "the cat didn't  sit,\n\n on 12 mats; ",
    "chinese": "我们在这里，吃饭。二〇一二年！",
    "mixed": "日本語 text's\n\n\t 東京。\r\n\u3000é²½Ⅷ 🙂🙂'll ",
    "white space": " \n\t\u3000\r\n",
    "signs": "''s_-=*/\\\"…",
    "russian": "Съешь же ещё этих мягких булок. ",
}


def spelled(text):
    """The pre-tokens, as the library spells them."""
    return [token for token, _ in RUNS(text)]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_parts_have_the_pre_tokens_of_the_whole(script, size):
    generator = random.Random(size)
    text = "".join(generator.choices(SCRIPTS[script], k=4000))
    parts = list(pieces.pieces(text, RUNS, size))
    assert "".join(parts) == text
    if size >= 50 and script not in ("signs", "white space"):  # whose runs are longer than parts
        assert [token for part in parts for token in spelled(part)] == spelled(text)
        assert len(parts) > 1 and max(map(len, parts)) <= 2 * size + 100


@pytest.mark.parametrize("letters", ["a", "я", "東", "7", "=", " ", "\n", "🙂", "é1"])
def test_no_run_is_longer_than_the_bound(letters):
    text = "before " + letters * (3 * pieces.LONGEST) + " after"
    parts = list(pieces.pieces(text, RUNS))
    assert "".join(parts) == text
    runs = [stop - start for part in parts for _, (start, stop) in RUNS(part)]
    assert max(runs) <= pieces.LONGEST + 1


def test_text_without_longer_runs_is_one_part():
    text = "x" * pieces.LONGEST + "\n" + " " * pieces.LONGEST + "日" * 100 + "," * 4000
    assert list(pieces.pieces(text, RUNS)) == [text]


def test_bpe_is_that_of_the_whole_text(tmp_path):
    text = "".join(random.Random(0).choices([*"abc我们在 \n", "the ", "。"], k=20_000))
    trainer = library.trainers.BpeTrainer(
        vocab_size=399, initial_alphabet=sorted(tokenizers.alphabet()), show_progress=False
    )
    whole = library.Tokenizer(library.models.BPE())
    whole.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.train_from_iterator([text], trainer)
    coder = tokenizers.configured({"name": "bpe", "vocab_size": 400}).build(
        lambda: [text.encode()], tmp_path
    )
    assert coder.encode(text).tolist() == whole.encode(text).ids


def test_text_without_white_space_comes_back(tmp_path):
    """Two megabytes of one run: the time of the library alone would grow with its square."""
    text = "".join(random.Random(0).choices("abcdefgh", k=2_000_000)).encode()
    bpe = tokenizers.configured({"name": "bpe", "vocab_size": 300})
    coder = bpe.build(lambda: [text], tmp_path)
    ids = coder.encode(text)
    assert coder.decode(ids) == text and len(ids) < 0.7 * len(text)


def test_text_that_is_not_utf8_is_one_line(tmp_path):
    coder = tokenizers.configured({"name": "bpe", "vocab_size": 257}).build(
        lambda: [b"x"], tmp_path
    )
    with pytest.raises(DataError, match=r"not UTF-8 text \(offset 2\).*tokenizer=bytes"):
        coder.encode(b"ab\xff")


def test_what_the_work_raises_is_raised():
    def work(stoppable):
        raise DataError("no text")

    with pytest.raises(DataError, match="no text"):
        interruptible.run(work)
    assert interruptible.run(lambda stoppable: list(stoppable("ab"))) == ["a", "b"]


SCRIPT = """
import random, sys
from pathlib import Path
from lengthgen.cli import main
from lengthgen.data import tokenizers
text = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=6_000_000)).encode()
bpe = tokenizers.configured({"name": "bpe", "vocab_size": 60_000})
main._dispatch = lambda argv: bpe.build(texts, Path(sys.argv[1]))
def texts():
    for first in range(0, len(text), 500_000):
        yield text[first:first + 500_000]
    print("read", flush=True)
sys.exit(main.main([]))
"""


@pytest.mark.parametrize("after", [1, 2])
def test_training_hears_ctrl_c(tmp_path, after):
    """While texts are read (1: the first time, to name them) and while the library merges (2)."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(after):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)  # the training would take some minutes
    finally:
        process.kill()
    assert process.returncode == 130 and said.strip().count("\n") == 0
    assert said.startswith("lengthgen: stopped by SIGINT; ")
    assert not list(tmp_path.rglob("*.json"))


def test_ids_are_integers_for_no_text(tmp_path):
    coder = tokenizers.configured({"name": "bpe", "vocab_size": 257}).build(
        lambda: [b"x"], tmp_path
    )
    assert coder.encode(b"").dtype == np.int32
