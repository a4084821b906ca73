"""Planted cases: models and texts that must not be flattered, and the words that come out."""

import numpy as np
import pytest
import torch

from lengthgen.data.tokens import write_store
from lengthgen.evaluation import length_rows, scoring, shuffled, writing
from lengthgen.evaluation.planners import PLANNERS
from lengthgen.statistics import words
from lengthgen.statistics.losses import Losses

from .test_evaluation import IDENTITY, TRAIN_LENGTH, VOCAB, make, requests, score, splits

ORDERED = np.arange(VOCAB - 1)  # the cycle of the text with structure
N_DOCUMENTS, TOKENS = 12, 10.0


@pytest.fixture(scope="module")
def cyclic(tmp_path_factory):
    """A text in which each token is told by the one before it."""
    documents = [(f"d{i}", np.roll(np.tile(ORDERED, 12), i)) for i in range(N_DOCUMENTS)]
    return write_store(
        tmp_path_factory.mktemp("s") / "s",
        documents,
        vocab_size=VOCAB,
        token_bytes=np.ones(VOCAB, int),
    )


def found(store, model, folder, scheme="rope"):
    """The words that a run alone gives, by length."""
    wanted = requests(store, [16, 32, 64], protocols=["matched", "shuffled"])
    rows = writing.write(
        folder,
        score(model, store, wanted),
        splits(store),
        IDENTITY | {"scheme": scheme},
        train_length=TRAIN_LENGTH,
        dtype="fp32",
        settings=writing.EvaluationConfig(resamples=50, documents=1),
        origin={},
    )
    return {row["word"] for row in rows if row["protocol"] == "matched" and row["word"]}


def test_an_untrained_model_is_untrained_whatever_its_losses_do(cyclic, tmp_path):
    assert found(cyclic, make("rope"), tmp_path / "e") == {"untrained"}


class Known:
    """A model that knows the next token: the loss of a guess that is nearly sure."""

    def __init__(self, model, needs_positions):
        self.model, self.needs_positions = model, needs_positions
        self.plain = model.losses
        model.losses = self.losses

    def losses(self, tokens, wanted, first=0):
        mixed = isinstance(self.model.scheme, shuffled.Shuffled) and self.needs_positions
        return torch.full(wanted[:, first:].shape, 2.0 if mixed else 1e-4)


@pytest.mark.parametrize(("needs", "word"), [(True, "tolerates"), (False, "positions not in use")])
def test_a_model_that_loses_nothing_by_shuffled_positions_does_not_use_them(
    cyclic, tmp_path, needs, word
):
    model = make("rope")
    Known(model, needs)
    assert found(cyclic, model, tmp_path / "e") == {word}
    model = make("none")  # has no positions: it is not asked
    Known(model, False)
    assert found(cyclic, model, tmp_path / "n", "none") == {"tolerates"}


def losses(at_l, beyond, bigram=3.0, n_seeds=3):
    """Losses at 16 and 32 with these means on documents that differ."""
    generator = np.random.default_rng(0)
    hard = generator.normal(0, 0.2, N_DOCUMENTS)
    mean = np.array([at_l, beyond])[:, None] + hard
    mean = mean + 1e-12 * generator.normal(size=(n_seeds, 2, N_DOCUMENTS))
    tokens = np.full(mean.shape, TOKENS)
    table = np.broadcast_to((bigram + hard) * TOKENS, mean.shape)
    names = tuple(f"d{d}" for d in range(N_DOCUMENTS))
    return Losses(mean * TOKENS, tokens, tuple(range(n_seeds)), (16, 32), names, bigram_sum=table)


def answer(one, without=None):
    baselines = {} if without is None else {words.WITHOUT: without.at(16)}
    return words.Evidence("rope", 16, one, baselines=baselines).at(32)


@pytest.mark.parametrize(
    ("gain", "word"), [(1e-9, "tolerates"), (0.0049, "tolerates"), (0.0051, "uses")]
)
def test_a_rounding_difference_is_no_use(gain, word):
    assert answer(losses(2.0, 2.0 - gain)).word == word


def test_a_text_without_far_context_is_tolerated_and_no_more():
    assert answer(losses(2.0, 2.0), losses(2.5, 2.5)).word == "tolerates"


@pytest.mark.parametrize(
    ("bigram", "without", "word"),
    [
        (1.9, 2.5, "untrained"),
        (1.9, 2.0, "untrained"),  # the first that holds
        (3.0, 2.04, "positions not in use"),
        (3.0, 2.06, "fails"),
        (2.001, 2.06, "fails"),
    ],
)
def test_what_was_not_learned_comes_before_what_is_lost(bigram, without, word):
    found = answer(losses(2.0, 2.5, bigram), losses(without, without))
    assert found.word == word and found.positions_over == words.WITHOUT


def test_the_baseline_needs_the_same_seeds():
    one = losses(2.0, 2.5, n_seeds=3)
    assert answer(one, losses(2.0, 2.0, n_seeds=1)).positions_over == ""
    assert answer(one, losses(2.0, 2.0, n_seeds=2)).positions_over == words.WITHOUT
    assert words.is_without("none") and words.is_without("none+log_n")
    assert not words.is_without("nonesuch") and "shuffled" in PLANNERS
    assert scoring.CHANGED.keys() <= PLANNERS.keys() and length_rows.LN2 < 1
