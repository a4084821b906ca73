"""Shuffled positions: a model that uses its positions loses by it, one that has none does not."""

import numpy as np
import pytest
import torch

from lengthgen import modifiers, schemes
from lengthgen.evaluation import scoring, shuffled
from lengthgen.modifiers.base import modified

from .test_evaluation import LENGTHS, TRAIN_LENGTH, VOCAB, make, requests, store  # noqa: F401
from .test_evaluation import score as scored_of

USED = ("learned", "sinusoidal", "rope", "alibi", "t5_bias", "kerple_log", "fire", "per_offset")


def both(model, store):  # noqa: F811
    """(matched, shuffled) at the training length."""
    wanted = requests(store, [TRAIN_LENGTH], protocols=["matched", "shuffled"])
    return scored_of(model, store, wanted)


@pytest.mark.parametrize("scheme", USED)
def test_the_same_targets_with_other_positions(store, scheme):  # noqa: F811
    model = make(scheme)
    before = model.scheme
    matched, mixed = both(model, store)
    assert model.scheme is before and mixed.status == "ok"
    assert mixed.request.eval_length == TRAIN_LENGTH
    assert mixed.request.windows == matched.request.windows
    assert np.abs(mixed.losses - matched.losses).max() > 1e-4


def test_one_request_at_the_training_length_alone(store):  # noqa: F811
    wanted = requests(store, LENGTHS, protocols=["shuffled"])
    assert [request.eval_length for request in wanted] == [TRAIN_LENGTH]


@pytest.mark.parametrize(
    ("scheme", "options", "reason"),
    [
        ("none", {}, "no positions"),
        ("fox", {}, "structure gates"),
        ("cope", {}, "structure general"),
        ("bipe", {}, "its own read"),
        ("selective_rope", {}, "its own steer"),
    ],
)
def test_positions_that_cannot_be_shuffled_are_refused_with_the_reason(
    store,  # noqa: F811
    scheme,
    options,
    reason,
):
    matched, mixed = both(make(scheme, **options), store)
    assert matched.status == "ok" and mixed.status == "refused" and reason in mixed.reason
    assert "\n" not in mixed.reason


def test_a_bias_is_read_at_the_distance_of_the_shuffled_places():
    """ALiBi by hand: attention over four tokens with the slopes times |p(i) - p(j)|."""
    model = make("alibi")
    positions = torch.arange(8)
    order = shuffled.permutation(positions)
    assert sorted(order.tolist()) == list(range(8)) and order.tolist() != list(range(8))
    with shuffled.shuffled(model):
        (bias, other) = model.scheme.biases(positions)
    assert bias is other  # shared over layers as before
    slopes = -model.scheme.toeplitz(torch.tensor([1]), 0)[:, 0]
    block = bias.block(2, 5)
    for i in range(2, 5):
        for j in range(i + 1):
            distance = abs(int(order[i] - order[j]))
            torch.testing.assert_close(block[:, i - 2, j], -slopes * distance)


def test_a_bias_of_rows_is_read_at_the_shuffled_row_and_column():
    model = make("fire")
    positions = torch.arange(8)
    order = shuffled.permutation(positions).tolist()
    (plain, *_) = model.scheme.biases(positions)
    with shuffled.shuffled(model):
        (bias, *_) = model.scheme.biases(positions)
    table, block = plain.block(0, 8), bias.block(3, 8)
    for i in range(3, 8):
        for j in range(i + 1):
            high, low = max(order[i], order[j]), min(order[i], order[j])
            torch.testing.assert_close(block[:, i - 3, j], table[:, high, low])


def test_modifiers_keep_the_true_positions_and_their_place():
    load = modifiers.load
    model = make("rope")
    log_n, window = load("log_n"), load("window")
    plain = model.scheme
    model.scheme = modified(plain, [(log_n, log_n.Config()), (window, window.Config(window=4))])
    around = model.scheme
    with shuffled.shuffled(model):
        assert model.scheme is around and type(around.inner.inner) is shuffled.Shuffled
    assert around.inner.inner is plain


def test_a_model_without_weight_on_its_positions_loses_nothing(store):  # noqa: F811
    model = make("learned")
    with torch.no_grad():
        model.scheme.table.zero_()
    matched, mixed = both(model, store)
    assert np.abs(mixed.losses - matched.losses).max() < 1e-5


@pytest.mark.parametrize("scheme", schemes.names())
def test_every_scheme_is_shuffled_or_refused_in_one_line(store, scheme):  # noqa: F811
    (mixed,) = scored_of(make(scheme), store, requests(store, protocols=["shuffled"]))
    assert mixed.status in ("ok", "refused") and "\n" not in mixed.reason
    assert (mixed.status == "ok") == (not mixed.reason)
    if mixed.status == "ok":
        assert np.isfinite(mixed.losses).all()
    assert scoring.CHANGED["shuffled"] is shuffled.shuffled and VOCAB
