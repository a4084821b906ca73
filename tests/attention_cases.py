"""Inputs, definitions and conditions that the tests of attention share.

Triton decides at its import whether it interprets: without a GPU this file asks for it first.
"""

import math
import os
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

HAS_GPU = torch.cuda.is_available()
if not HAS_GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")

from lengthgen.attention import dispatch  # noqa: E402
from lengthgen.attention.bias_forms import Bias, Gates, Rows, Span, Toeplitz  # noqa: E402
from lengthgen.attention.kernels import offsets, reference, windows_and_sinks  # noqa: E402
from lengthgen.attention.kernels.split_gates import SplitGates  # noqa: E402

KINDS = ("none", "fixed", "learned", "rows", "frozen rows")


def why_not_interpreted() -> str | None:
    """What keeps Triton's interpreter from running here; None if nothing does."""
    if HAS_GPU:
        return "a GPU is here: the tests marked gpu run the real thing"
    if find_spec("triton") is None:
        return "triton is not installed"
    import triton

    interprets = type(triton.language.standard.sum).__name__ == "InterpretedFunction"
    return None if interprets else "triton was imported before it was asked to interpret"


interpreted = pytest.mark.skipif(
    why_not_interpreted() is not None, reason=str(why_not_interpreted())
)


def inputs(
    batch: int, n_heads: int, length: int, size: int, device: str = "cpu"
) -> tuple[list[Tensor], Tensor, Tensor]:
    """[q, k, v] laid out like a projection, the gradient of the output, a bias vector (H, T)."""
    generator = torch.Generator().manual_seed(length)
    tensors = [
        torch.randn(batch, length, n_heads, size, generator=generator).transpose(1, 2).to(device)
        for _ in range(4)
    ]
    return tensors[:3], tensors[3], torch.randn(n_heads, length, generator=generator).to(device)


def bias_of(kind: str, parameter: Tensor, batch: int = 1) -> Bias | None:
    """A bias of each structure from one parameter (H, T); gates are equal for all sequences."""
    if kind == "none":
        return None
    if kind in ("fixed", "learned"):
        return Toeplitz(parameter)
    if kind in ("gates", "weighted gates"):
        sums = -parameter.abs().double().cumsum(-1).expand(batch, -1, -1)
        weights = parameter.square().expand(batch, -1, -1)
        return Gates(sums, weights if kind == "weighted gates" else None)

    def block(first: int, last: int) -> Tensor:
        i = torch.arange(first, last, device=parameter.device)[:, None]
        j = torch.arange(last, device=parameter.device)[None, :]
        return (
            parameter[:, (i - j).abs()] * (1 + i).to(parameter.dtype) ** -0.3
        )  # .abs(): what stands above the diagonal must not matter

    return Rows(block)


def run(
    kind: str, force: str, dtype: torch.dtype, tensors: list[Tensor], grad: Tensor, vector: Tensor,
    scale: float, layers: int = 1, span: Span | None = None,
) -> list[Tensor]:  # fmt: skip
    """The output and the gradients of q, k, v and, if it learns, of the bias's parameter.

    Below float64 the parameter stays float32.
    """
    leaves = [x.detach().to(dtype).requires_grad_() for x in tensors]
    parameter = (
        vector.detach()
        .to(torch.promote_types(dtype, torch.float32))
        .requires_grad_(kind in ("learned", "rows", "gates", "weighted gates"))
    )
    bias, out = bias_of(kind, parameter, len(leaves[0])), leaves[0]
    for _ in range(layers):
        out = dispatch.attend(out, leaves[1], leaves[2], bias, scale, force=force, span=span)
    wanted = leaves + ([parameter] if parameter.requires_grad else [])
    return [out.detach(), *torch.autograd.grad(out, wanted, grad.to(dtype))]


def written_out(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | SplitGates | None,
    scale: float,
    span: Span | None = None,
) -> tuple[Tensor, Tensor]:
    """In place of flex.forward, which has no backward on CPU."""
    length = q.shape[2]
    if isinstance(bias, SplitGates):
        assert not any(x is not None and x.requires_grad for x in bias)
        dense = bias.block(0, length)
    elif bias is None:
        dense = offsets.dense(q.new_zeros(q.shape[1:3]))
    else:
        assert not bias.requires_grad
        dense = offsets.dense(bias) if bias.ndim == 2 else bias
    dense = dense.masked_fill(~windows_and_sinks.visible(0, length, span, q.device), -math.inf)
    scores = scale * q @ k.transpose(-2, -1) + dense.to(q.dtype)
    return reference.attend(q, k, v, dense, scale), scores.logsumexp(-1)


def serve_flex_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let dispatch take flex on a CPU, written out."""
    from lengthgen.attention.kernels import flex

    monkeypatch.setattr(dispatch, "_flex_obstacle", lambda q, dropout: None)
    monkeypatch.setattr(flex, "forward", written_out)


def unchecked_dispatch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """attention.dispatch as users import it: torch.compile cannot trace the checks of shapes."""
    unchecked = types.ModuleType("unchecked")
    monkeypatch.setitem(sys.modules, "unchecked", unchecked)
    exec(Path(dispatch.__file__).read_text(), vars(unchecked))
    return unchecked


def assert_close(given: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    """By the largest error, relative to the largest entry or 1."""
    assert len(given) == len(expected)
    for name, a, b in zip(("out", "dq", "dk", "dv", "dbias"), given, expected, strict=False):
        assert a.shape == b.shape, name
        assert torch.isfinite(a).all(), name
        error = (a.double() - b.double()).abs().max().item() / (1 + b.abs().max().item())
        assert error < tolerance, f"{name}: {error:.2e}"


def definition(
    dtype: torch.dtype,
    batch: int,
    n_heads: int,
    length: int,
    size: int,
    scale: float,
    window: int | None = None,
):
    """What the two gradient functions take, with the vector and with the matrix, in `dtype`.

    And both gradients, by autograd in float64.
    """
    tensors, grad, vector = inputs(batch, n_heads, length, size)
    if window is not None:
        vector[:, window:] = -math.inf
    tensors, grad = [x.to(dtype) for x in tensors], grad.to(dtype)
    wide = vector.double().requires_grad_()
    matrix = offsets.dense(wide)
    matrix.retain_grad()
    q, k, v = (x.double() for x in tensors)
    out = reference.attend(q, k, v, matrix, scale)
    out.backward(grad.double())
    lse = (
        (scale * q @ k.transpose(-2, -1) + matrix.detach())
        .logsumexp(-1)
        .to(torch.promote_types(dtype, torch.float32))
    )
    common = (*tensors, out.detach().to(dtype), lse, grad)
    return common, vector, matrix.detach().to(lse.dtype), wide.grad, matrix.grad.tril()
