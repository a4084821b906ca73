"""Attention on a GPU: kernels against the float64 definition, memory, determinism, backends.

FlexAttention compiles for seconds for each form of bias, length, span, dtype and head size: 27
times here. Cases that share all of these share the compilation.
"""

import pytest
import torch
from torch import Tensor

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import sdpa
from lengthgen.attention.kernels.split_gates import SplitGates

from .attention_cases import HAS_GPU, KINDS, bias_of, definition, inputs, run, unchecked_dispatch
from .gate_cases import SPANS, gradient_case

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not HAS_GPU, reason="no NVIDIA GPU here")]


def tolerance_of(dtype: torch.dtype) -> float:
    return {torch.float32: 2e-5, torch.float16: 3e-3, torch.bfloat16: 2e-2}[dtype]


def gpu_case(
    kind: str,
    force: str,
    dtype: torch.dtype,
    length: int,
    size: int,
    batch: int = 3,
    span: Span | None = None,
) -> None:
    tensors, grad, vector = inputs(batch, 2, length, size, "cuda")
    tensors, grad = [x.to(dtype) for x in tensors], grad.to(dtype)
    expected = run(kind, "reference", torch.float64, tensors, grad, vector, size**-0.5, span=span)
    given = run(kind, force, dtype, tensors, grad, vector, size**-0.5, span=span)
    for name, a, b in zip(("out", "dq", "dk", "dv", "dbias"), given, expected, strict=False):
        # A window of one token has gradients of 0, but for rounding.
        error = ((a.double() - b).norm() / (b.norm() + 0.1)).item()
        assert error < tolerance_of(dtype), f"{name}: {error:.2e}"


def bias_block(kind: str, vector: Tensor, row: int) -> Tensor:
    """The bias of one query against its keys, (H, 1, row + 1)."""
    bias = bias_of(kind, vector)
    assert bias is not None
    return bias.block(row, row + 1)


ALL_KINDS = (*KINDS, "gates", "weighted gates")


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("length", [1, 128, 200, 1024])
def test_masks_equal_the_definition(kind: str, length: int) -> None:
    gpu_case(kind, "sdpa", torch.bfloat16, length, 64)


@pytest.mark.parametrize(
    ("kind", "length"), [*((kind, 200) for kind in ALL_KINDS), ("learned", 1024), ("gates", 1024)]
)
def test_flex_equals_the_definition(kind: str, length: int) -> None:
    gpu_case(kind, "flex", torch.bfloat16, length, 64)


def test_flex_in_float32() -> None:
    gpu_case("learned", "flex", torch.float32, 200, 64)
    gpu_case("weighted gates", "flex", torch.float32, 200, 64)


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("span", [Span(2), Span(100), Span(128, 4), Span(300, 130)])
def test_masks_with_windows_and_sinks(kind: str, span: Span) -> None:
    gpu_case(kind, "sdpa", torch.bfloat16, 600, 64, span=span)


@pytest.mark.parametrize(
    ("kind", "span"),
    [
        ("none", Span(100)),
        ("learned", Span(100)),
        ("gates", Span(100)),
        ("learned", Span(128, 4)),
        ("rows", Span(128, 4)),
        ("weighted gates", Span(128, 4)),
    ],
)
def test_flex_with_windows_and_sinks(kind: str, span: Span) -> None:
    gpu_case(kind, "flex", torch.bfloat16, 600, 64, span=span)


@pytest.mark.parametrize(
    ("kind", "size"), [("learned", 16), ("learned", 80), ("rows", 128), ("weighted gates", 128)]
)
def test_flex_for_head_sizes(kind: str, size: int) -> None:
    gpu_case(kind, "flex", torch.bfloat16, 333, size)


@pytest.mark.parametrize(("kind", "length"), [("learned", 1), ("gates", 100)])
def test_flex_for_short_windows(kind: str, length: int) -> None:
    gpu_case(kind, "flex", torch.float16, length, 32)


def test_auto_takes_flex_for_a_bias_and_not_without() -> None:
    q = torch.zeros(3, 2, 200, 64, device="cuda", dtype=torch.bfloat16)
    vector = torch.zeros(2, 200, device="cuda")
    for kind in ALL_KINDS:
        bias = bias_of(kind, vector, batch=3)
        assert dispatch.chosen(q, bias) == ("sdpa" if kind == "none" else "flex")
        assert dispatch.why_not_flex(q, bias) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("tile", [(32, 32), (64, 64), (128, 64), (128, 128)])
def test_the_bias_gradient(dtype: torch.dtype, tile: tuple[int, int]) -> None:
    from lengthgen.attention.kernels import triton_bias

    if dtype == torch.float32 and tile[0] > 32:
        pytest.skip("exact float32 products of large tiles live in spilled registers")
    common, vector, matrix, dvector, dmatrix = definition(dtype, 3, 2, 333, 64, 0.125)
    common = [x.cuda() for x in common]

    def check(given: Tensor, expected: Tensor) -> None:
        assert ((given.cpu().double() - expected).norm() / expected.norm()).item() < tolerance_of(
            dtype
        )

    for ordered in (True, False):
        check(
            triton_bias.vector_gradient(*common, vector.cuda(), 0.125, ordered=ordered, tile=tile),
            dvector,
        )
    # With a matrix a tile of 128 x 128 needs 262,144 bytes of shared memory; an H100 has 232,448.
    if tile != (128, 128):
        check(triton_bias.matrix_gradient(*common, matrix.cuda(), 0.125, tile=tile), dmatrix)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("size", [64, 128])
def test_the_gradient_of_gates(
    size: int, span: Span | None, weighted: bool, dtype: torch.dtype
) -> None:
    from lengthgen.attention.kernels import triton_gates

    case, expected = gradient_case(333, -0.1, span, weighted, dtype, size)
    parts = SplitGates(*(None if x is None else x.cuda() for x in case[6]))
    on_gpu = (*(x.cuda() for x in case[:6]), parts, *case[7:])
    first, second = (triton_gates.gate_gradients(*on_gpu) for _ in range(2))
    for a, again, b in zip(first, second, expected, strict=False):
        assert torch.equal(a, again)
        assert ((a.cpu().double() - b).norm() / b.norm()).item() < tolerance_of(dtype)


@pytest.mark.parametrize("kind", ["learned", "gates"])
def test_deterministic_means_the_same_bits(kind: str) -> None:
    tensors, grad, vector = inputs(3, 2, 200, 64, "cuda")
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (
            run(kind, "flex", torch.bfloat16, tensors, grad, vector, 0.125) for _ in range(2)
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("kind", "force"),
    [("fixed", "sdpa"), ("fixed", "flex"), ("rows", "sdpa"), ("rows", "flex"), ("gates", "flex")],
)
def test_evaluation_of_a_long_window_costs_memory_linear_in_it(kind: str, force: str) -> None:
    length = 32768
    tensors, _, vector = inputs(1, 4, length, 64, "cuda")
    tensors = [x.bfloat16() for x in tensors]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with torch.no_grad():
        out = dispatch.attend(*tensors, bias_of(kind, vector), 0.125, force=force)
        rows = [0, 1, 4097, length - 1]
        for i in rows:
            q, k, v = (
                tensors[0][:, :, i : i + 1].double(),
                *(x[:, :, : i + 1].double() for x in tensors[1:]),
            )
            scores = 0.125 * q @ k.transpose(-2, -1) + bias_block(kind, vector, i).double()
            expected = scores.softmax(-1) @ v
            assert (
                (out[:, :, i : i + 1].double() - expected).norm() / expected.norm()
            ).item() < 2e-2
    assert (
        torch.cuda.max_memory_allocated() - before < 4e9
    )  # a bfloat16 matrix of all scores alone would be 8.6e9


@pytest.mark.parametrize("length", [128, 1000, 1024])
def test_backends_are_what_the_order_says(length: int) -> None:
    q = torch.zeros(2, 4, length, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    if torch.cuda.get_device_capability()[0] == 9:
        assert sdpa.backend(q, masked=False) == "cudnn_attention"
    assert sdpa.backend(q, masked=True) == "efficient_attention"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["learned", "weighted gates"])
def test_inside_a_compiled_model(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unchecked = unchecked_dispatch(monkeypatch)
    tensors, grad, vector = inputs(3, 2, 256, 64, "cuda")
    scale, leaves = 0.125, [x.bfloat16().requires_grad_() for x in tensors]
    expected = run(
        kind, "reference", torch.float64, [x.detach() for x in leaves], grad, vector, scale
    )
    parameter = vector.clone().requires_grad_()

    @torch.compile
    def attend(q: Tensor, k: Tensor, v: Tensor, parameter: Tensor) -> Tensor:
        return unchecked.attend(q, k, v, bias_of(kind, parameter, len(q)), scale, force="flex")

    out = attend(*leaves, parameter)
    given = [out.detach(), *torch.autograd.grad(out, [*leaves, parameter], grad.bfloat16())]
    for a, b in zip(given, expected, strict=True):
        assert ((a.double() - b).norm() / b.norm()).item() < 2e-2
