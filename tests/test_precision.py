"""Precision of every scheme: float32 against float64, and bfloat16 autocast against float32.

"float64" is the same scheme with its parameters, and all that it computes, in float64
(model_cases.float64); whole models then use attention's definition too. That float64 is the paper's
formula is shown by the comparisons with oracles.

Shape letters: T tokens, H heads, D head size.
"""

import copy

import pytest
import torch

from lengthgen.attention.bias_forms import Rows, Toeplitz
from lengthgen.model import ModelConfig

from .model_cases import exact_losses, float64, losses, real
from .test_schemes import SMALL, Probe, every_case, every_scheme, longest, make, random_tokens

CPU = torch.device("cpu")
LONG = 8192
ONE_LAYER = ModelConfig(n_layers=1, n_heads=1, width=16)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def both(name: str, options: dict):
    """A stirred scheme, and its copy with parameters in float64."""
    scheme = make(name, options, stir=0.3).eval()
    return scheme, copy.deepcopy(scheme).double()


def close(ours, exact) -> None:
    """(.., places, channels) within float32's rounding of a few operations, of a channel's size.

    Not of the entry's size: a rotation leaves small entries between large ones. FIRE and xPos need
    the most.
    """
    assert ours.dtype == torch.float32 and ours.isfinite().all() and exact.dtype == torch.float64
    assert ((ours - exact).abs() <= 1e-5 + 3e-6 * exact.abs().amax(-2, keepdim=True)).all()


@every_case
def test_positions_and_biases_at_8192(name, options):
    scheme, exact = both(name, options)
    T, sample = longest(scheme, LONG), slice(-64, None)
    x = torch.randn(1, T, SMALL.width, generator=torch.Generator().manual_seed(0))
    q = torch.randn(1, SMALL.n_heads, T, SMALL.head_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        positions = scheme.positions(T, CPU)
        ours = [scheme.embed(x, positions), *scheme.rotate(q, q, positions, 1)]
        ours += [entries(bias, T) for bias in scheme.biases(positions)]
        with float64():
            positions = exact.positions(T, CPU)
            theirs = [
                exact.embed(x.double(), positions),
                *exact.rotate(q.double(), q.double(), positions, 1),
            ]
            theirs += [entries(bias, T) for bias in exact.biases(positions)]
    for mine, wanted in zip(ours, theirs, strict=True):
        if wanted is not None:
            close(mine[..., sample, :], wanted.double()[..., sample, :])


def entries(bias, length: int):
    """The values of a bias (H, T, 1) by offset, or its last row (H, 1, T); None for none."""
    if isinstance(bias, Toeplitz):
        return bias.vector[..., None]
    return bias.block(length - 1, length) if isinstance(bias, Rows) else None


@every_case
def test_right_at_eight_times_the_trained_length(name, options):
    """Finite, and what the same parameters give in float64."""
    scheme, exact = both(name, options)
    tokens = random_tokens(longest(scheme, 8 * SMALL.train_length), batch=1)
    with torch.no_grad():
        ours = Probe(scheme, n_layers=2)(tokens)
        with float64():
            theirs = Probe(exact, n_layers=2)(tokens)
    assert ours.isfinite().all()
    assert (ours - theirs).abs().max() < 1e-4


@every_case
def test_a_float32_model_is_within_1e_4_nats_of_float64_at_four_times_the_trained_length(
    name, options
):
    model = real(name, options)
    tokens = random_tokens(longest(model.scheme, 4 * SMALL.train_length) + 1)
    assert (losses(model, tokens) - exact_losses(model, tokens)).abs().max() < 1e-4


@every_scheme
def test_a_float32_model_is_within_1e_4_nats_of_float64_at_8192_tokens(name):
    """One layer, the last 16 tokens. At 1,024 where all pairs cost more than a flash kernel."""
    model = real(name, {}, ONE_LAYER)
    scheme = model.scheme
    affordable = LONG if scheme.structure in ("none", "toeplitz", "gates") else 1024
    T = longest(scheme, affordable if scheme.by_rows else 128)
    tokens, first = random_tokens(T + 1, batch=1), T - 16 if scheme.by_rows else 0
    assert (losses(model, tokens, first) - exact_losses(model, tokens, first)).abs().max() < 1e-4


@every_scheme
def test_autocast_to_bfloat16_moves_losses_by_little(name):
    model = real(name, {})
    tokens = random_tokens(longest(model.scheme, 512) + 1)
    exact = losses(model, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = losses(model, tokens)
    assert rounded.dtype == torch.float32
    assert 1e-4 < (rounded - exact).abs().mean() < 0.012
    assert (rounded - exact).abs().max() < 0.15


@every_case
def test_autocast_to_bfloat16_changes_no_bit_of_positions_rotations_and_biases(
    name, options, monkeypatch
):
    """bfloat16 rounds positions past 256. Losses of random weights hardly show it: hooks do."""
    model = real(name, options)
    scheme, seen = model.scheme, []
    tokens = random_tokens(longest(scheme, 300), batch=1)

    def watched(hook, place: int):
        return lambda *given: seen.append(given[place]) or hook(*given)

    for hook, place in (("embed", 1), ("rotate", 2), ("biases", 0)):
        monkeypatch.setattr(scheme, hook, watched(getattr(scheme, hook), place))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model(tokens)
    monkeypatch.undo()
    positions, T = scheme.read(tokens), tokens.shape[1]
    assert len(seen) == 4  # two layers
    assert all(one.dtype == positions.dtype and torch.equal(one, positions) for one in seen)
    q = torch.randn(1, SMALL.n_heads, T, SMALL.head_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = [
            *scheme.rotate(q, q, positions, 1),
            *(entries(bias, T) for bias in scheme.biases(positions)),
        ]
        with torch.autocast(
            "cpu", torch.bfloat16
        ):  # `rotate` and the blocks of rows are called inside it
            inside = list(scheme.rotate(q, q, positions, 1))
            with torch.autocast("cpu", enabled=False):
                biases = scheme.biases(positions)
            inside += [entries(bias, T) for bias in biases]
    for before, after in zip(plain, inside, strict=True):
        assert before is after is None or (
            before.dtype == after.dtype and torch.equal(before, after)
        )
