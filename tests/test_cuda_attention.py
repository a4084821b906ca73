"""The CUDA side of attention without a GPU: FlexAttention uncompiled, its backward written out."""

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Span, Toeplitz
from lengthgen.attention.kernels import bias_tap, flex, masks, offsets, reference, sdpa
from lengthgen.errors import ConfigError

from .attention_cases import (
    KINDS,
    assert_close,
    bias_of,
    definition,
    inputs,
    interpreted,
    run,
    serve_flex_anywhere,
    unchecked_dispatch,
    written_out,
)


@pytest.fixture
def flex_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    serve_flex_anywhere(monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "layers"), [(1, 1), (37, 1), (37, 3), (130, 1)])
def test_the_whole_equals_the_definition(
    kind: str, length: int, layers: int, flex_anywhere: None
) -> None:
    tensors, grad, vector = inputs(2, 3, length, 16)
    expected = run(kind, "reference", torch.float64, tensors, grad, vector, 0.25, layers)
    assert_close(
        run(kind, "flex", torch.float32, tensors, grad, vector, 0.25, layers), expected, 5e-6
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("span", [Span(1), Span(7), Span(7, 3), Span(60, 1)])
def test_the_whole_with_windows_and_sinks(kind: str, span: Span, flex_anywhere: None) -> None:
    tensors, grad, vector = inputs(2, 3, 75, 16)
    expected = run(
        kind, "reference", torch.float64, tensors, grad, vector, 0.25, layers=2, span=span
    )
    assert_close(
        run(kind, "flex", torch.float32, tensors, grad, vector, 0.25, layers=2, span=span),
        expected,
        5e-6,
    )


@interpreted
@pytest.mark.parametrize("kind", ["learned", "rows"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_the_whole_with_triton(
    kind: str, deterministic: bool, flex_anywhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lengthgen.attention.kernels import triton_bias

    asked, original = [], triton_bias.vector_gradient
    monkeypatch.setattr(
        triton_bias,
        "vector_gradient",
        lambda *args, ordered: asked.append(ordered) or original(*args, ordered=ordered),
    )
    monkeypatch.setattr(bias_tap, "implementation", lambda q: triton_bias)
    tensors, grad, vector = inputs(2, 2, 70, 16)
    expected = run(kind, "reference", torch.float64, tensors, grad, vector, 0.25)
    torch.use_deterministic_algorithms(deterministic)
    try:
        assert_close(run(kind, "flex", torch.float32, tensors, grad, vector, 0.25), expected, 5e-6)
    finally:
        torch.use_deterministic_algorithms(False)
    assert asked == ([deterministic] if kind == "learned" else [])


def test_the_tap_has_the_gradient_of_finite_differences(flex_anywhere: None) -> None:
    (q, k, v), _, vector = inputs(2, 2, 6, 3)

    def attend(q: Tensor, k: Tensor, v: Tensor, vector: Tensor) -> Tensor:
        return flex.attend(q, k, v, vector, 0.7)

    assert torch.autograd.gradcheck(
        attend, [x.double().requires_grad_() for x in (q, k, v, vector)]
    )


def test_only_the_bias_learns(flex_anywhere: None) -> None:
    tensors, grad, vector = inputs(2, 2, 40, 16)
    expected = run("learned", "reference", torch.float64, tensors, grad, vector, 0.25)
    vector.requires_grad_()
    out = dispatch.attend(*tensors, Toeplitz(vector), 0.25, force="flex")
    assert_close([torch.autograd.grad(out, vector, grad)[0]], expected[-1:], 5e-6)


def test_torch_accepts_the_operators() -> None:
    common, vector, matrix, _, _ = definition(torch.float32, 2, 2, 10, 16, 0.25)
    for operator, bias in ((bias_tap.vector_gradient, vector), (bias_tap.matrix_gradient, matrix)):
        torch.library.opcheck(
            operator, (*common, bias, 0.25), test_utils=("test_schema", "test_faketensor")
        )


@pytest.mark.parametrize("length", [1, 100, 128, 129, 256, 300, 640])
def test_the_block_mask_is_that_of_torch(length: int) -> None:
    from torch.nn.attention.flex_attention import create_block_mask

    ours = flex.visible_blocks(length, None, torch.device("cpu"))
    theirs = create_block_mask(flex._causal, None, None, length, length, device="cpu")
    assert ours.shape == theirs.shape
    for kind in ("kv", "full_kv", "q", "full_q"):
        numbers, indices = (getattr(ours, f"{kind}_{name}") for name in ("num_blocks", "indices"))
        assert numbers.dtype == indices.dtype == torch.int32
        assert torch.equal(numbers, getattr(theirs, f"{kind}_num_blocks"))
        for row, number in enumerate(numbers[0, 0].tolist()):
            expected = getattr(theirs, f"{kind}_indices")[0, 0, row, :number]
            assert sorted(indices[0, 0, row, :number].tolist()) == sorted(expected.tolist())


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("length", [1, 100, 200])
def test_flex_computes_the_definition_and_its_logsumexp(length: int) -> None:
    (q, k, v), _, vector = inputs(2, 2, length, 16)
    mask = flex.visible_blocks(length, None, q.device)
    matrix = offsets.dense(vector)
    with torch.no_grad():
        for bias in (None, vector, torch.where(matrix.isinf(), 7.0, matrix)):
            given = flex.attention(q, k, v, bias, mask, 0.25)
            dense = written_out(
                q.double(), k.double(), v.double(), None if bias is None else matrix.double(), 0.25
            )
            assert_close(list(given), list(dense), 5e-6)


def test_one_callable_per_length_and_an_error_where_it_would_not_be_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compile_ = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, **options: compile_(f, backend="eager", **options)
    )
    flex.compiled.cache_clear()
    try:
        with torch.no_grad():
            for length in range(2, 12):  # more than torch's recompile limit
                (q, k, v), _, vector = inputs(1, 1, length, 16)
                out, _ = flex.forward(q, k, v, vector, 0.25)
                assert_close([out], [reference.attend(q, k, v, offsets.dense(vector), 0.25)], 5e-6)
            assert flex.compiled.cache_info().currsize == 10
            with (
                torch.compiler.set_stance("force_eager"),
                pytest.raises(RuntimeError, match="would run uncompiled"),
            ):
                flex.forward(q, k, v, vector, 0.25)
    finally:
        flex.compiled.cache_clear()
        torch.compiler.reset()


@pytest.mark.parametrize("kind", ["learned", "rows", "gates", "weighted gates"])
def test_a_compiled_model_takes_it_whole(
    kind: str, flex_anywhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (q, k, v), grad, vector = inputs(1, 2, 20, 16)
    expected = run(kind, "reference", torch.float64, [q, k, v], grad, vector, 0.25)
    leaves = [x.clone().requires_grad_() for x in (q, k, v, vector)]

    unchecked = unchecked_dispatch(monkeypatch)
    unchecked._flex_obstacle = dispatch._flex_obstacle

    def attend(q: Tensor, k: Tensor, v: Tensor, vector: Tensor) -> Tensor:
        return unchecked.attend(q, k, v, bias_of(kind, vector), 0.25, force="flex")

    try:
        out = torch.compile(attend, backend="aot_eager", fullgraph=True)(*leaves)
        assert_close([out.detach(), *torch.autograd.grad(out, leaves, grad)], expected, 5e-6)
    finally:
        torch.compiler.reset()


def test_what_flex_cannot_do_is_one_clear_line() -> None:
    q = torch.zeros(1, 2, 8, 16)
    with pytest.raises(
        ConfigError, match=r"'flex' cannot be used here \(device cpu, it needs cuda\): use 'auto'"
    ):
        dispatch.attend(q, q, q, None, 1.0, force="flex")


def test_rows_of_masks() -> None:
    vector = torch.randn(2, 50)
    whole = offsets.dense(vector)
    for first, last in ((0, 1), (0, 16), (16, 32), (33, 50), (49, 50)):
        for rows in (
            masks.VectorRows(vector, 17),
            masks.MatrixRows(lambda a, b: whole[:, a:b, :b].nan_to_num(neginf=3.0)),
        ):
            mask = rows.mask(first, last)
            assert torch.equal(mask, whole[:, first:last, :last])
            assert mask.stride(-1) == 1
            assert mask.stride(-2) % masks.ALIGNMENT == 0
    assert masks.VectorRows(vector.bfloat16(), 4).mask(3, 5).dtype == torch.bfloat16
    assert (
        masks.MatrixRows(lambda a, b: whole[:, a:b, :b], torch.bfloat16).mask(3, 5).dtype
        == torch.bfloat16
    )


@pytest.mark.parametrize("length", [1, 16, 50])
def test_aligned_masks_keep_their_values_and_gradients(length: int) -> None:
    mask = torch.randn(2, length, length, dtype=torch.float64, requires_grad=True)
    aligned = masks.aligned(mask)
    assert torch.equal(aligned, mask)
    assert aligned.stride(-2) % masks.ALIGNMENT == 0
    assert torch.equal(torch.autograd.grad(aligned.square().sum(), mask)[0], 2 * mask)


@pytest.mark.parametrize("kind", ["fixed", "rows"])
def test_a_long_window_is_evaluated_by_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LONGEST_DENSE", 32)
    monkeypatch.setattr(sdpa, "MASK_AT_ONCE", 3 * 100 * 20)
    tensors, _, vector = inputs(2, 3, 100, 16)
    tensors = [x.double() for x in tensors]
    bias = bias_of(kind, vector.double().requires_grad_())
    expected = dispatch.attend(*tensors, bias, 0.25, force="reference")
    seen, by_rows = [], sdpa.attend_by_rows
    monkeypatch.setattr(
        sdpa, "attend_by_rows", lambda *args: seen.append(args[5]) or by_rows(*args)
    )
    with torch.no_grad():
        assert_close([dispatch.attend(*tensors, bias, 0.25, force="sdpa")], [expected], 1e-12)
    assert seen == [16]
    dispatch.attend(*tensors, bias, 0.25, force="sdpa")  # with gradients: dense
    assert seen == [16]


def test_backends() -> None:
    cudnn, efficient, flash, math_ = (
        SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION,
        SDPBackend.MATH,
    )  # fmt: skip
    assert sdpa.backend_order((9, 0), False, False) == [cudnn, flash, efficient, math_]
    assert sdpa.backend_order((8, 0), False, False) == [flash, efficient, cudnn, math_]
    assert sdpa.backend_order((9, 0), False, True) == [flash, efficient, math_]
    assert sdpa.backend_order((9, 0), True, False) == [efficient, math_]
    assert sdpa.backend(torch.zeros(1, 2, 8, 16), masked=False) == "flash_attention"
    assert sdpa.backend(torch.zeros(1, 2, 8, 16), masked=True) == "flash_attention"
    assert (
        sdpa.backend(torch.zeros(1, 2, 8, 16, dtype=torch.float16), masked=True, dropout=0.5)
        == "math"
    )


def test_autocast_reaches_every_kernel_but_the_definition(flex_anywhere: None) -> None:
    tensors, _, vector = inputs(1, 2, 20, 16)
    mixed = [
        tensors[0],
        tensors[1],
        tensors[2].bfloat16(),
    ]  # rotated queries and keys may have come out in float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for force in ("sdpa", "flex"):
            out = dispatch.attend(*mixed, Toeplitz(vector), 0.25, force=force)
            assert out.dtype == torch.bfloat16
            assert_close(
                [out], [dispatch.attend(*tensors, Toeplitz(vector), 0.25, force="reference")], 3e-2
            )
