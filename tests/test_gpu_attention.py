"""Attention on a GPU: kernels against the float64 definition, memory, determinism, backends."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Rows, Span
from lengthgen.attention.kernels import sdpa

from .attention_cases import HAS_GPU, KINDS, bias_of, definition, inputs, run

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
        error = ((a.double() - b).norm() / (b.norm() + 1e-12)).item()
        assert error < tolerance_of(dtype), f"{name}: {error:.2e}"


def bias_block(kind: str, vector: Tensor, row: int) -> Tensor:
    """The bias of one query against its keys, (H, 1, row + 1)."""
    bias = bias_of(kind, vector)
    block: Callable[[int, int], Tensor] = (
        bias.block if isinstance(bias, Rows) else lambda i, last: vector[:, :last].flip(1)[:, None]
    )
    return block(row, row + 1)


@pytest.mark.parametrize("force", ["sdpa", "flex"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [128, 200, 1024])
def test_kernels_equal_the_definition(kind: str, force: str, length: int) -> None:
    gpu_case(kind, force, torch.bfloat16, length, 64)


@pytest.mark.parametrize("force", ["sdpa", "flex"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("span", [Span(2), Span(100), Span(128, 4), Span(300, 130)])
def test_windows_and_sinks(kind: str, force: str, span: Span) -> None:
    gpu_case(kind, force, torch.bfloat16, 600, 64, span=span)


@pytest.mark.parametrize("length", [1, 200, 1024])
@pytest.mark.parametrize("span", [None, Span(100, 4)])
def test_gates(length: int, span: Span | None) -> None:
    gpu_case("gates", "sdpa", torch.bfloat16, length, 64, span=span)


@pytest.mark.parametrize("size", [16, 32, 80, 128])
@pytest.mark.parametrize("kind", ["learned", "rows"])
def test_flex_for_head_sizes(kind: str, size: int) -> None:
    gpu_case(kind, "flex", torch.bfloat16, 333, size)


@pytest.mark.parametrize("length", [1, 17, 100, 129])
@pytest.mark.parametrize("kind", ["none", "learned"])
def test_flex_for_short_and_ragged_windows(kind: str, length: int) -> None:
    gpu_case(kind, "flex", torch.float16, length, 32)


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


def test_deterministic_means_the_same_bits() -> None:
    tensors, grad, vector = inputs(8, 4, 500, 64, "cuda")
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (
            run("learned", "flex", torch.bfloat16, tensors, grad, vector, 0.125) for _ in range(2)
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("kind", "force"), [("fixed", "sdpa"), ("fixed", "flex"), ("rows", "sdpa"), ("rows", "flex")]
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
@pytest.mark.parametrize("kind", ["learned", "rows"])
def test_inside_a_compiled_model(kind: str) -> None:
    tensors, grad, vector = inputs(3, 2, 256, 64, "cuda")
    scale, leaves = 0.125, [x.bfloat16().requires_grad_() for x in tensors]
    expected = run(
        kind, "reference", torch.float64, [x.detach() for x in leaves], grad, vector, scale
    )
    parameter = vector.clone().requires_grad_()

    @torch.compile
    def attend(q: Tensor, k: Tensor, v: Tensor, parameter: Tensor) -> Tensor:
        return dispatch.attend(q, k, v, bias_of(kind, parameter), scale, force="flex")

    out = attend(*leaves, parameter)
    given = [out.detach(), *torch.autograd.grad(out, [*leaves, parameter], grad.bfloat16())]
    for a, b in zip(given, expected, strict=True):
        assert ((a.double() - b).norm() / b.norm()).item() < 2e-2
