"""Gates in FlexAttention, without a GPU: float32 parts of running sums, and their gradient."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Gates, Span
from lengthgen.attention.kernels import bias_tap, flex, torch_bias, windows_and_sinks
from lengthgen.attention.kernels.split_gates import split

from .attention_cases import assert_close, inputs, interpreted, serve_flex_anywhere
from .gate_cases import FALLS, SPANS, definition, gradient_case, query_weights, run, sums

LENGTHS = (1, 17, 100, 129)


@pytest.fixture
def flex_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    serve_flex_anywhere(monkeypatch)


def tolerance(fall: str, weighted: bool) -> float:
    """Negative weights of a strong fall make scores near 200, which float32 rounds at 1e-5."""
    return 1e-4 if weighted and fall == "strong" else 5e-6


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("fall", FALLS)
@pytest.mark.parametrize("length", LENGTHS)
def test_plain_torch_gives_the_gradients(
    length: int, fall: str, span: Span | None, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_bias, "SCORES_AT_ONCE", 7 * 4 * length)  # chunks of 7 rows
    case, expected = gradient_case(length, FALLS[fall], span, weighted)
    given = torch_bias.gate_gradients(*case)
    assert_close(list(given)[: len(expected)], expected, tolerance(fall, weighted))


def every_combination() -> list:
    """Triton's cases, 64, which take minutes; by default each pair of length and span once."""
    combinations = itertools.product(enumerate(LENGTHS), FALLS, enumerate(SPANS), (False, True))
    cases = []
    for (i, length), fall, (j, span), weighted in combinations:
        by_default = (fall == list(FALLS)[(i + j) % 2]) and weighted == bool((i + j // 2) % 2)
        marks = () if by_default else (pytest.mark.slow,)
        cases.append(pytest.param(length, fall, span, weighted, marks=marks))
    return cases


@interpreted
@pytest.mark.parametrize(("length", "fall", "span", "weighted"), every_combination())
def test_triton_gives_the_gradients(
    length: int, fall: str, span: Span | None, weighted: bool
) -> None:
    from lengthgen.attention.kernels import triton_gates

    case, expected = gradient_case(length, FALLS[fall], span, weighted)
    for tile in (None, (32, 16), (16, 32)):
        given = triton_gates.gate_gradients(*case, tile=tile)
        assert_close(list(given)[: len(expected)], expected, tolerance(fall, weighted))
        again = triton_gates.gate_gradients(*case, tile=tile)
        assert all(torch.equal(a, b) for a, b in zip(given, again, strict=True))


@interpreted
def test_triton_gives_the_gradients_in_half_precision_and_of_any_strides() -> None:
    from lengthgen.attention.kernels import triton_gates

    case, expected = gradient_case(129, -0.1, None, True, torch.float16)
    assert_close(list(triton_gates.gate_gradients(*case)), expected, 2e-3)
    case, expected = gradient_case(129, -0.1, None, True)
    turned = [*case]
    turned[5] = case[5].mT.contiguous().mT  # its last axis is not contiguous
    assert_close(list(triton_gates.gate_gradients(*turned)), expected, 5e-6)


def test_errors_of_rounded_outputs_cancel_in_the_gates() -> None:
    """A gate gets the gradients of all later sums, in which rows that do not sum to 0 pile up."""
    length = 1024
    tensors, grad, _ = inputs(2, 2, length, 16)
    cumulative = sums(2, 2, length, -0.7)
    expected = definition(tensors, grad, cumulative, 0.25)
    case, _ = gradient_case(length, -0.7, None, False)
    rounded = [*case]
    rounded[3] = case[3].bfloat16().float()
    given, _ = torch_bias.gate_gradients(*rounded)
    q, k, v, out, lse, grad, parts, scale, span = rounded
    masks = torch_bias.GateMasks(parts, span)
    chunks = torch_bias._score_gradients(q, k, v, out, lse, grad, masks, scale, length)
    columns = -next(chunks)[2].sum(-2)

    def error(of_sums: Tensor) -> float:
        of_gates, right = (x.double().flip(-1).cumsum(-1) for x in (of_sums, expected[4]))
        return ((of_gates - right).norm() / right.norm()).item()

    assert error(given) < 3e-3
    assert error(columns) > 10 * error(given)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("fall", FALLS)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_whole_equals_the_definition(
    length: int, fall: str, span: Span | None, weighted: bool, flex_anywhere: None
) -> None:
    tensors, grad, _ = inputs(2, 2, length, 16)
    cumulative, weights = sums(2, 2, length, FALLS[fall]), query_weights(length)
    weights = weights if weighted else None
    expected = definition(tensors, grad, cumulative, 0.25, span, weights)
    given = run("flex", torch.float32, tensors, grad, cumulative, 0.25, span, weights)
    assert given[4].dtype == torch.float64
    assert_close(given, expected, 2e-5)


@interpreted
@pytest.mark.parametrize("weighted", [False, True])
def test_the_whole_with_triton(
    weighted: bool, flex_anywhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lengthgen.attention.kernels import triton_gates

    monkeypatch.setattr(bias_tap, "gate_implementation", lambda q: triton_gates.gate_gradients)
    tensors, grad, _ = inputs(2, 2, 100, 16)
    cumulative, weights = sums(2, 2, 100, -0.1), query_weights(100) if weighted else None
    for span in (None, Span(20, 3)):
        expected = definition(tensors, grad, cumulative, 0.25, span, weights)
        given = run("flex", torch.float32, tensors, grad, cumulative, 0.25, span, weights)
        assert_close(given, expected, 5e-6)


def line(shape: str, length: int) -> Tensor:
    """Running sums (1, 1, T) of extreme shapes."""
    place = torch.arange(length, dtype=torch.float64)
    lines: dict[str, Callable[[], Tensor]] = {
        "a steep fall": lambda: -40 * place,
        "rising": lambda: 30 * place,
        "a valley": lambda: 20 * (place - length / 2).abs(),
        "far from zero": lambda: -1e6 - 0.1 * place,
        "one cliff": lambda: torch.where(place < length / 3, 0.0, -1e4) - 0.01 * place,
    }
    return lines[shape]()[None, None]


SHAPES = ("a steep fall", "rising", "a valley", "far from zero", "one cliff")


@pytest.mark.parametrize("shape", SHAPES)
def test_parts_are_exact_where_weights_matter(shape: str) -> None:
    """An error of a bias is a relative error of a weight: seen in float32's units of the bias."""
    length = 300
    cumulative = line(shape, length) + sums(1, 1, length, -0.1)
    exact = split(Gates(cumulative), None, torch.float64).block(0, length)
    given = split(Gates(cumulative), None, torch.float32).block(0, length)
    past = windows_and_sinks.visible(0, length, None, cumulative.device)
    error = ((given.double() - exact).abs() / (1 + exact.abs()))[..., past]
    assert error.max() < 1.2e-7
    if shape == "far from zero":  # what it is for
        plain = cumulative.float()
        naive = plain[..., :, None] - plain[..., None, :]
        between = cumulative[..., :, None] - cumulative[..., None, :]
        assert (naive.double() - between).abs()[..., past].max() > 1e-2


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_any_shape(shape: str, flex_anywhere: None) -> None:
    tensors, grad, _ = inputs(2, 2, 300, 16)
    cumulative = line(shape, 300) + sums(2, 2, 300, -0.1)
    expected = definition(tensors, grad, cumulative, 0.25)
    assert_close(run("flex", torch.float32, tensors, grad, cumulative, 0.25), expected, 2e-5)


def test_the_tap_has_the_gradient_of_finite_differences(flex_anywhere: None) -> None:
    tensors, _, _ = inputs(2, 2, 6, 3)
    weights = query_weights(6)

    def attend(q: Tensor, k: Tensor, v: Tensor, c: Tensor, w: Tensor) -> Tensor:
        return flex.attend(q, k, v, Gates(c, w), 0.7)

    leaves = [x.double().requires_grad_() for x in (*tensors, sums(2, 2, 6, -0.5), weights)]
    assert torch.autograd.gradcheck(attend, leaves)


@pytest.mark.parametrize("learns", ["gates", "weights", "neither"])
def test_what_does_not_learn_gets_no_gradient(learns: str, flex_anywhere: None) -> None:
    tensors, grad, _ = inputs(2, 2, 90, 16)
    cumulative, weights = sums(2, 2, 90, -0.1), query_weights(90)
    expected = definition(tensors, grad, cumulative, 0.25, weights=weights)
    leaves = {"gates": [cumulative], "weights": [weights], "neither": [tensors[0]]}[learns]
    leaves[0].requires_grad_()
    out = dispatch.attend(*tensors, Gates(cumulative, weights), 0.25, force="flex")
    place = {"gates": 4, "weights": 5, "neither": 1}[learns]
    assert_close(list(torch.autograd.grad(out, leaves, grad)), [expected[place]], 5e-6)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("span", [None, Span(50, 3)])
@pytest.mark.parametrize("length", [1, 100, 200])
def test_flex_computes_the_definition(length: int, span: Span | None, weighted: bool) -> None:
    (q, k, v), grad, _ = inputs(2, 2, length, 16)
    cumulative, weights = sums(2, 2, length, -0.3), query_weights(length) if weighted else None
    parts = split(Gates(cumulative, weights), span, torch.float32)
    with torch.no_grad():
        mask = flex.visible_blocks(length, span, q.device)
        out, lse = flex.attention(q, k, v, parts, mask, 0.25)
    expected = definition([q, k, v], grad, cumulative, 0.25, span, weights)
    assert_close([out], expected[:1], 5e-6)
    scores = 0.25 * q.double() @ k.double().mT + parts.block(0, length)
    hidden = windows_and_sinks.hide(scores, 0, length, span)
    assert_close([lse], [hidden.logsumexp(-1)], 5e-6)


def test_torch_accepts_the_operator() -> None:
    for weighted in (False, True):
        case, _ = gradient_case(20, -0.1, None, weighted)
        *tensors, parts, scale, span = case
        torch.library.opcheck(
            bias_tap.gate_gradients,
            (*tensors, *parts, scale, span.window, span.sinks),
            test_utils=("test_schema", "test_faketensor"),
        )


def test_a_long_window_needs_no_rows(flex_anywhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LONGEST_DENSE", 32)
    monkeypatch.setattr(dispatch.sdpa, "attend_by_rows", lambda *_: pytest.fail("by rows"))
    tensors, grad, _ = inputs(2, 2, 100, 16)
    cumulative = sums(2, 2, 100, -0.2)
    with torch.no_grad():
        given = dispatch.attend(*tensors, Gates(cumulative), 0.25, force="flex")
    assert_close([given], definition(tensors, grad, cumulative, 0.25)[:1], 5e-6)
