"""The contract of every scheme inside the package's model: what is around a window changes nothing.

test_schemes.py checks the hooks in a small model; here the kernels of a run are in between.

Shape letters: T tokens, H heads.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lengthgen.attention.bias_forms import Rows, Toeplitz
from lengthgen.data.tokens import write_store
from lengthgen.evaluation.planners import Request, Window
from lengthgen.evaluation.scoring import score
from lengthgen.schemes.base import Scheme

from .model_cases import SHAPE, VOCAB, logits, losses, real
from .test_schemes import SMALL, every_case, longest, make, random_tokens, train_on

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in a fixed order: numbers can then be equal to the bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@every_case
def test_padding_on_the_right_and_neighbours_in_the_batch_change_nothing(name, options):
    model = real(name, options)
    tokens = random_tokens(longest(model.scheme, 48))
    T, together = tokens.shape[1], logits(model, tokens)
    for row, alone in zip(together, tokens, strict=True):
        assert (row - logits(model, alone[None])[0]).abs().max() < 1e-5
    if not model.scheme.declaration.prefix_consistent:
        return
    short = 2 * T // 3
    padded = tokens.clone()
    padded[:, short:] = 0
    assert (logits(model, padded)[:, :short] - logits(model, tokens[:, :short])).abs().max() < 1e-5
    assert (logits(model, padded)[:, :short] - together[:, :short]).abs().max() < 1e-5


@every_case
def test_the_order_of_evaluation_changes_no_bit(name, options):
    """Short, long, short, long; and a model that only ever saw the short one."""
    model = real(name, options)
    short, long = random_tokens(24), random_tokens(longest(model.scheme, 96))
    first, second = logits(model, short), logits(model, long)
    assert torch.equal(logits(model, short), first)
    assert torch.equal(logits(model, long), second)
    assert torch.equal(logits(real(name, options), long), second)


@every_case
def test_biases_are_what_the_hooks_say_for_each_head_and_offset(name, options):
    """Entry n of a vector is the bias of offset n alone; entry (i, j) of rows that of i and j.

    A scheme that makes its biases by itself has no such hook of its own to ask.
    """
    scheme = make(name, options, stir=0.3)
    if type(scheme).biases is not Scheme.biases:
        return
    positions = scheme.positions(longest(scheme, 48), CPU)
    for layer, bias in enumerate(scheme.biases(positions)):
        if isinstance(bias, Toeplitz):
            assert bias.vector.shape == (SMALL.n_heads, len(positions))
            for n in (0, 1, 2, 7, 31, len(positions) - 1):
                torch.testing.assert_close(
                    bias.vector[:, n], scheme.toeplitz(torch.tensor([n]), layer)[:, 0]
                )
        elif isinstance(bias, Rows):
            for i, j in ((0, 0), (9, 3), (40, 39), (47, 0)):
                pair = scheme.rows(positions[i : i + 1], positions[j : j + 1], layer)[:, 0, 0]
                torch.testing.assert_close(
                    bias.block(i, i + 1)[:, 0, j], pair, atol=1e-6, rtol=1e-5
                )


def test_vectors_that_a_window_cannot_reach_get_exactly_no_gradient():
    """CoPE counts at most the keys of a window. Other tables: test_schemes.py."""
    scheme, T = make("cope", {}), 20
    train_on(scheme, T)
    gradient = scheme.table.grad
    assert gradient[:, :2].abs().amax() > 0
    assert not gradient[:, T + 1 :].any()


def test_scoring_turns_dropout_off(tmp_path):
    """Also of a model that comes from training."""
    document = np.random.default_rng(0).integers(0, VOCAB, 90)
    store = write_store(
        tmp_path / "s", [("doc", document)], vocab_size=VOCAB, token_bytes=np.ones(VOCAB)
    )
    window = Window(0, 10, 48, 0)
    model = real("alibi", {}, replace(SHAPE, dropout=0.5)).train()
    (scored,) = score(
        model, store, [Request("position", 48, (window,))], tokens_per_batch=64, device=CPU
    )
    plain = losses(real("alibi", {}), store.tokens(10, 59)[None])
    assert (torch.from_numpy(scored.losses) - plain).abs().max() < 1e-5
