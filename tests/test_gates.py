"""Running sums as a bias: the CPU kernel and the dense path against the float64 definition."""

from collections.abc import Iterator

import pytest
import torch

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Gates, Span
from lengthgen.attention.kernels import gates, sdpa
from lengthgen.errors import ConfigError

from .attention_cases import assert_close, inputs
from .gate_cases import FALLS, definition, run, sums

SIZES = (16, 32, 33, 64, 80, 128)
LENGTHS = (1, 2, 63, 64, 65, 129, 257)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("fall", FALLS)
@pytest.mark.parametrize("length", LENGTHS)
def test_kernels_equal_the_definition(length: int, fall: str) -> None:
    turn = LENGTHS.index(length)
    size, batch, n_heads, scale = (
        SIZES[turn % len(SIZES)],
        (1, 2, 5)[turn % 3],
        (3, 1, 2)[turn % 3],
        (1.0, 0.2)[turn % 2],
    )
    tensors, grad, _ = inputs(batch, n_heads, length, size)
    cumulative = sums(batch, n_heads, length, FALLS[fall])
    expected = definition(tensors, grad, cumulative, scale)
    assert_close(run("reference", torch.float64, tensors, grad, cumulative, scale), expected, 1e-11)
    torch.set_num_threads(1 + turn % 2)
    for force in ("cpu", "sdpa"):
        assert_close(run(force, torch.float32, tensors, grad, cumulative, scale), expected, 5e-6)
    with torch.no_grad():
        assert_close([dispatch.attend(*tensors, Gates(cumulative), scale)], expected[:1], 2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("span", [Span(1), Span(20), Span(64, 4), Span(100, 1), Span(30, 80)])
def test_windows_sinks_and_head_sizes(size: int, span: Span) -> None:
    tensors, grad, _ = inputs(1, 2, 201, size)
    cumulative = sums(1, 2, 201, -1.0)
    expected = definition(tensors, grad, cumulative, size**-0.5, span)
    for force in ("cpu", "sdpa"):
        assert_close(
            run(force, torch.float32, tensors, grad, cumulative, size**-0.5, span), expected, 2e-5
        )  # weights of 1: rounding alone


@pytest.mark.parametrize("fall", FALLS)
@pytest.mark.parametrize("span", [None, Span(20), Span(64, 4)])
@pytest.mark.parametrize("length", [1, 65, 257])
def test_queries_with_weights(length: int, span: Span | None, fall: str) -> None:
    tensors, grad, _ = inputs(2, 2, length, 32)
    cumulative = sums(2, 2, length, FALLS[fall])
    weights = torch.rand(2, 2, length, generator=torch.Generator().manual_seed(0)) - 0.05
    expected = definition(tensors, grad, cumulative, 0.2, span, weights)
    assert_close(
        run("reference", torch.float64, tensors, grad, cumulative, 0.2, span, weights),
        expected,
        1e-5,
    )
    for force in ("cpu", "sdpa"):
        given = run(force, torch.float32, tensors, grad, cumulative, 0.2, span, weights)
        assert given[-1].dtype == torch.float32
        assert_close(given, expected, 2e-5)


@pytest.mark.parametrize("shape", ["rising", "a valley", "far from zero", "one cliff"])
def test_sums_of_any_shape(shape: str) -> None:
    place = torch.arange(300, dtype=torch.float64)
    cliff = torch.where(place < 101, 0.0, -1e4) - 0.01 * place
    line = {
        "rising": 30 * place,
        "a valley": 20 * (place - 150).abs(),
        "far from zero": -1e6 - 0.1 * place,
        "one cliff": cliff,
    }[shape]
    cumulative = line.expand(2, 2, -1) + sums(2, 2, 300, -0.1)
    tensors, grad, _ = inputs(2, 2, 300, 16)
    expected = definition(tensors, grad, cumulative, 0.25)
    given = run("cpu", torch.float32, tensors, grad, cumulative, 0.25)
    assert_close(
        given, expected, 2e-5
    )  # where one key has all the weight, the rounding of 300 rows is all that is left of gradients


def test_longer_chunks_and_single_precision_sums() -> None:
    tensors, grad, _ = inputs(1, 2, 1030, 16)
    cumulative = sums(1, 2, 1030, -0.05).float()
    given = run("cpu", torch.float32, tensors, grad, cumulative, 0.25)
    assert given[-1].dtype == torch.float32
    assert_close(given, definition(tensors, grad, cumulative, 0.25), 5e-6)


def test_chunks_keep_masks_small() -> None:
    assert gates.chunk_of(2, 600, 128) == 128
    assert gates.chunk_of(32, 1024, 128) == 64
    assert gates.chunk_of(1, 16384, 256) == 32
    assert gates.chunk_of(8, 10**6, 256) == 16
    assert gates.chunk_of(1, 20000, 256) == 16


def test_the_dense_form_has_the_gradient_of_finite_differences() -> None:
    tensors, _, _ = inputs(1, 2, 6, 3)
    leaves = [x.double().requires_grad_() for x in (*tensors, sums(1, 2, 6, -0.5))]
    assert torch.autograd.gradcheck(
        lambda q, k, v, c: dispatch.attend(q, k, v, Gates(c), 0.7, force="reference"), leaves
    )


def test_only_the_gates_learn() -> None:
    tensors, grad, _ = inputs(2, 2, 90, 16)
    cumulative = sums(2, 2, 90, -0.1).requires_grad_()
    out = dispatch.attend(*tensors, Gates(cumulative), 0.25)
    expected = definition(tensors, grad, cumulative, 0.25)
    assert_close([torch.autograd.grad(out, cumulative, grad)[0]], expected[-1:], 5e-6)


def test_only_the_weights_learn() -> None:
    tensors, grad, _ = inputs(2, 2, 90, 16)
    cumulative, weights = sums(2, 2, 90, -0.1), torch.rand(2, 2, 90, requires_grad=True)
    out = dispatch.attend(*tensors, Gates(cumulative, weights), 0.25)
    expected = definition(tensors, grad, cumulative, 0.25, weights=weights)
    assert_close([torch.autograd.grad(out, weights, grad)[0]], expected[-1:], 5e-6)


def test_frozen_gates_train_the_rest() -> None:
    tensors, grad, _ = inputs(2, 2, 90, 16)
    cumulative, leaves = sums(2, 2, 90, -0.1), [x.requires_grad_() for x in tensors]
    out = dispatch.attend(*leaves, Gates(cumulative), 0.25)
    assert_close(
        [out.detach(), *torch.autograd.grad(out, leaves, grad)],
        definition(tensors, grad, cumulative, 0.25)[:4],
        5e-6,
    )


def test_sums_of_nothing_change_nothing() -> None:
    tensors, _, _ = inputs(2, 2, 90, 16)
    plain = dispatch.attend(*tensors, None, 0.25, force="reference")
    assert_close(
        [dispatch.attend(*tensors, Gates(torch.full((2, 2, 90), -7.0)), 0.25)], [plain], 1e-6
    )


def test_a_long_window_is_evaluated_by_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LONGEST_DENSE", 32)
    monkeypatch.setattr(sdpa, "MASK_AT_ONCE", 6 * 100 * 20)
    tensors, _, _ = inputs(2, 3, 100, 16)
    tensors, cumulative = [x.double() for x in tensors], sums(2, 3, 100, -0.2)
    seen, by_rows = [], sdpa.attend_by_rows
    monkeypatch.setattr(
        sdpa, "attend_by_rows", lambda *args: seen.append(args[5]) or by_rows(*args)
    )
    for span in (None, Span(30, 2)):
        with torch.no_grad():
            given = dispatch.attend(*tensors, Gates(cumulative), 0.25, span=span)
        assert_close(
            [given],
            [dispatch.attend(*tensors, Gates(cumulative), 0.25, force="reference", span=span)],
            1e-12,
        )
    assert seen == [16, 16]


def test_half_precision_takes_differences_first() -> None:
    tensors, _, _ = inputs(1, 2, 65, 16)
    cumulative = sums(1, 2, 65, -0.1) - 10_000  # bfloat16 would know it to 64
    halves = [x.bfloat16() for x in tensors]
    out = dispatch.attend(*halves, Gates(cumulative), 0.25)
    assert out.dtype == torch.bfloat16
    assert_close(
        [out], [dispatch.attend(*tensors, Gates(cumulative), 0.25, force="reference")], 3e-2
    )


def test_what_cannot_be_is_one_clear_line() -> None:
    q = torch.zeros(1, 2, 8, 16)
    with pytest.raises(ValueError, match=r"Gates.weights of shape \(1, 2\): expected"):
        dispatch.attend(q, q, q, Gates(torch.zeros(1, 2, 8), torch.zeros(1, 2)), 1.0)
    with pytest.raises(
        ConfigError, match=r"'flex' cannot be used here \(device cpu, it needs cuda\): use 'auto'"
    ):
        dispatch.attend(q, q, q, Gates(torch.zeros(1, 2, 8)), 1.0, force="flex")
    for wrong in (torch.zeros(1, 2, 9), torch.zeros(2, 8)):
        for force in ("auto", "sdpa"):
            with pytest.raises(ValueError, match=r"expected \(1, 2, 8\), one number a query"):
                dispatch.attend(q, q, q, Gates(wrong), 1.0, force=force)
