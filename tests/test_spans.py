"""Windows and sinks: every kernel against the float64 definition, and what a window saves."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Rows, Span, Toeplitz
from lengthgen.attention.kernels import cpu, flex, masks, offsets, sdpa, windows_and_sinks

from .attention_cases import KINDS, assert_close, bias_of, inputs, run

LENGTHS = (1, 3, 65, 131, 200)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sees(i: int, j: int, span: Span) -> bool:
    return j <= i and (span.window is None or j > i - span.window or j < span.sinks)


def definition(
    kind: str, tensors: list[Tensor], grad: Tensor, vector: Tensor, span: Span
) -> list[Tensor]:
    """The output and the gradients in float64, hidden keys' scores taken out one by one."""
    q, k, v = leaves = [x.detach().double().requires_grad_() for x in tensors]
    parameter = vector.detach().double().requires_grad_(kind in ("learned", "rows"))
    bias, length = bias_of(kind, parameter), q.shape[2]
    hidden = torch.tensor([[not sees(i, j, span) for j in range(length)] for i in range(length)])
    scores = 0.25 * q @ k.transpose(-1, -2)
    if bias is not None:
        scores = scores + (
            bias.block(0, length) if isinstance(bias, Rows) else offsets.dense(parameter)
        )
    out = scores.masked_fill(hidden, -math.inf).softmax(-1) @ v
    wanted = leaves + ([parameter] if parameter.requires_grad else [])
    return [out.detach(), *torch.autograd.grad(out, wanted, grad.double())]


def windows(length: int) -> list[int]:
    return sorted({1, 2, 7, 64, 65, max(1, length - 1), length})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", LENGTHS)
def test_kernels_equal_the_definition(kind: str, length: int) -> None:
    tensors, grad, vector = inputs(2, 2, length, 16)
    for window in windows(length):
        for sinks in (0, 1, 4):
            span = Span(window, sinks)
            expected = definition(kind, tensors, grad, vector, span)
            assert_close(
                run(kind, "reference", torch.float64, tensors, grad, vector, 0.25, span=span),
                expected,
                1e-12,
            )
            for force in (
                "cpu",
                "sdpa",
            ):  # a window of 1 leaves weights of 1: the bias's gradient is rounding alone
                assert_close(
                    run(kind, force, torch.float32, tensors, grad, vector, 0.25, span=span),
                    expected,
                    2e-5,
                )
            with torch.no_grad():
                out = dispatch.attend(
                    *tensors,
                    bias_of(kind, vector.clone().requires_grad_()),
                    0.25,
                    force="cpu",
                    span=span,
                )
            assert_close([out], expected[:1], 1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("span", [Span(100, 3), Span(520, 70), Span(600)])
def test_longer_chunks_and_threads(kind: str, span: Span) -> None:
    tensors, grad, vector = inputs(1, 2, 701, 8)
    expected = run(kind, "reference", torch.float64, tensors, grad, vector, 0.25, span=span)
    torch.set_num_threads(2)
    assert_close(
        run(kind, "cpu", torch.float32, tensors, grad, vector, 0.25, span=span), expected, 5e-6
    )


@pytest.mark.parametrize("kind", ["none", "fixed", "rows"])
@pytest.mark.parametrize("span", [Span(1), Span(30), Span(30, 4), Span(90, 20)])
def test_a_long_window_evaluated_by_rows(
    kind: str, span: Span, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LONGEST_DENSE", 32)
    monkeypatch.setattr(sdpa, "MASK_AT_ONCE", 3 * 150 * 20)
    widths, sdpa_ = [], torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda q, k, v, **more: widths.append(k.shape[2]) or sdpa_(q, k, v, **more),
    )
    tensors, _, vector = inputs(2, 3, 150, 16)
    tensors = [x.double() for x in tensors]
    bias = bias_of(kind, vector.double())
    with torch.no_grad():
        given = dispatch.attend(*tensors, bias, 0.25, force="sdpa", span=span)
    assert_close(
        [given], [dispatch.attend(*tensors, bias, 0.25, force="reference", span=span)], 1e-12
    )
    assert len(widths) == 10
    assert max(widths) <= span.window + 15 + span.sinks


class FlashSizes(TorchDispatchMode):
    """Records (query rows, keys) of each call of torch's CPU flash kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def __torch_dispatch__(
        self, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ):
        if "flash_attention_for_cpu" in str(function):
            q, k = args[1:3] if "backward" in str(function) else args[:2]
            self.sizes.append((q.shape[2], k.shape[2]))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["none", "fixed", "frozen rows"])
def test_a_window_reads_its_own_keys_only(kind: str) -> None:
    length, span = 1000, Span(100, 4)
    tensors, grad, vector = inputs(1, 2, length, 8)
    with FlashSizes() as flash:
        run(kind, "auto", torch.float32, tensors, grad, vector, 0.25, span=span)
    assert sum(rows for rows, _ in flash.sizes) == 2 * length  # every row forward and backward
    assert all(keys <= rows - 1 + span.window + span.sinks for rows, keys in flash.sizes)


def test_where_the_keys_of_a_chunk_stand() -> None:
    for span in (None, Span(), Span(None, 3), Span(1), Span(5, 2), Span(20, 9), Span(3, 30)):
        for first, last in ((0, 1), (0, 7), (7, 14), (14, 20), (19, 20)):
            wanted = {
                j for i in range(first, last) for j in range(last) if sees(i, j, span or Span())
            }
            oldest_first = [
                j
                for s in windows_and_sinks.key_slices(first, last, span, 20, False)
                for j in range(s.start, s.stop)
            ]
            newest_first = [
                19 - place
                for s in windows_and_sinks.key_slices(first, last, span, 20, True)
                for place in range(s.start, s.stop)
            ]
            assert oldest_first == sorted(wanted)
            assert newest_first == sorted(wanted, reverse=True)
            assert len(wanted) <= windows_and_sinks.most_keys(span, last - first, 20)
            seen = windows_and_sinks.visible(first, last, span, torch.device("cpu"))
            assert seen.tolist() == [
                [sees(i, j, span or Span()) for j in range(last)] for i in range(first, last)
            ]


def test_choice() -> None:
    short, long = (torch.zeros(1, 2, length, 4) for length in (8, dispatch.LONGEST_UNBIASED + 9))
    assert (
        dispatch.chosen(short, None, span=Span(3))
        == dispatch.chosen(long, None, span=Span(3))
        == "cpu"
    )
    length = long.shape[2]
    for same in (
        Span(),
        Span(None, 4),
        Span(length),
        Span(length + 5, 2),
        Span(length - 3, 3),
    ):  # they hide nothing
        assert windows_and_sinks.narrowed(same, length) is None
        assert dispatch.chosen(long, None, span=same) == "sdpa"
    assert windows_and_sinks.narrowed(Span(length - 3, 2), length) == Span(length - 3, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_span_that_hides_nothing_changes_no_bit(kind: str) -> None:
    tensors, grad, vector = inputs(2, 2, 70, 16)
    without = run(kind, "auto", torch.float32, tensors, grad, vector, 0.25)
    for span in (Span(70), Span(None, 4), Span(69, 1)):
        assert all(
            torch.equal(a, b)
            for a, b in zip(
                run(kind, "auto", torch.float32, tensors, grad, vector, 0.25, span=span),
                without,
                strict=True,
            )
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("force", ["cpu", "sdpa"])
def test_hidden_keys_have_no_influence(kind: str, force: str) -> None:
    span = Span(20, 3)
    tensors, _, vector = inputs(1, 2, 150, 16)
    changed = [tensors[0], *(x.clone() for x in tensors[1:])]
    for x in changed[1:]:
        x[:, :, 3:100] = 1e4
    a, b = (
        dispatch.attend(*x, bias_of(kind, vector), 0.25, force=force, span=span)[:, :, 119:]
        for x in (tensors, changed)
    )
    assert torch.equal(a, b)


def test_wrong_spans_are_refused() -> None:
    for window, sinks in ((0, 0), (-3, 0), (None, -1), (5, -1)):
        with pytest.raises(ValueError, match="expected window > 0"):
            Span(window, sinks)


def test_offsets_keep_only_what_a_window_reads() -> None:
    vector = torch.zeros(2, 10_000)
    bias = offsets.Offsets(vector, 64, Span(100, 4))
    assert bias.near.numel() < 2 * 300
    assert cpu.chunk_of(windows_and_sinks.most_keys(Span(100, 4), 1, 10_000)) == 64
    assert masks.VectorRows(vector[:1], 4).mask(3, 5).shape == (1, 2, 5)


@pytest.mark.parametrize(
    "span",
    [
        Span(1),
        Span(100),
        Span(128),
        Span(129, 1),
        Span(300, 128),
        Span(200, 140),
        Span(5, 639),
        Span(64, 400),
    ],
)
@pytest.mark.parametrize("length", [1, 128, 130, 300, 640])
def test_the_block_mask_is_that_of_torch(span: Span, length: int) -> None:
    from torch.nn.attention.flex_attention import create_block_mask

    ours = flex._spanned_blocks(length, span, torch.device("cpu"))
    theirs = create_block_mask(ours.mask_mod, None, None, length, length, device="cpu")
    assert ours.shape == theirs.shape
    for kind in ("kv", "full_kv", "q", "full_q"):
        numbers, indices = (getattr(ours, f"{kind}_{name}") for name in ("num_blocks", "indices"))
        assert numbers.dtype == indices.dtype == torch.int32
        assert torch.equal(numbers, getattr(theirs, f"{kind}_num_blocks"))
        for row, number in enumerate(numbers[0, 0].tolist()):
            expected = getattr(theirs, f"{kind}_indices")[0, 0, row, :number]
            assert sorted(indices[0, 0, row, :number].tolist()) == sorted(expected.tolist())


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("span", [Span(1), Span(64, 4), Span(150, 1)])
def test_flex_computes_the_definition(span: Span) -> None:
    tensors, _, vector = inputs(2, 2, 300, 16)
    mask = flex.visible_blocks(300, span, tensors[0].device)
    with torch.no_grad():
        for bias in (None, vector, offsets.dense(vector)):
            given, _ = flex.attention(*tensors, bias, mask, 0.25)
            structure = None if bias is None else Toeplitz(vector)
            assert_close(
                [given],
                [dispatch.attend(*tensors, structure, 0.25, force="reference", span=span)],
                5e-6,
            )
