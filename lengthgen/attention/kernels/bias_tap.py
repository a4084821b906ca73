"""The gradient of a bias, tapped from an attention that knows the bias as a constant.

Fast attention kernels give the gradients of q, k, v, but that of a bias slowly or not at all. So
the kernel reads a detached bias, and its output passes through an identity. On the way back that
identity hands dO on unchanged, and computes the bias's gradient from dO, q, k, v, the output and
the log-sum-exp: two more of attention's seven matrix products. By Triton (triton_bias.py,
triton_gates.py) on CUDA, else by torch_bias.py.

The operators are registered with torch, so that torch.compile takes each for one call and does
not look inside.
"""

from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lengthgen.attention.bias_forms import Gates, Span
from lengthgen.attention.kernels import torch_bias
from lengthgen.attention.kernels.split_gates import SplitGates


def tap(
    out: Tensor, bias: Tensor, q: Tensor, k: Tensor, v: Tensor, lse: Tensor, scale: float
) -> Tensor:
    """`out` (B, H, T, D), with a gradient for the `bias` that it was computed from.

    bias: (H, T) by offset, or (H, T, T). lse: (B, H, T), natural log-sum-exp of the biased scores.
    First derivatives only.
    """
    return _Tap.apply(out, bias, q.detach(), k.detach(), v.detach(), lse.detach(), scale)


class _Tap(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, out: Tensor, bias: Tensor, q: Tensor, k: Tensor, v: Tensor, lse: Tensor,
        scale: float,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(out, bias, q, k, v, lse)
        ctx.scale = scale
        return out.view_as(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        out, bias, q, k, v, lse = ctx.saved_tensors
        dbias = None
        if ctx.needs_input_grad[1]:
            gradient = vector_gradient if bias.ndim == 2 else matrix_gradient
            dbias = gradient(q, k, v, out, lse, grad.to(q.dtype), bias, ctx.scale).to(bias.dtype)
        return grad, dbias, None, None, None, None, None


def gate_tap(
    out: Tensor, gates: Gates, parts: SplitGates, q: Tensor, k: Tensor, v: Tensor, lse: Tensor,
    scale: float, span: Span | None,
) -> Tensor:  # fmt: skip
    """`out`, with gradients for the running sums and the weights of the `gates` it came from.

    parts: those gates, as the attention read them. The rest as in `tap`.
    """
    learned = [x for x in (gates.cumulative, gates.weights) if x is not None and x.requires_grad]
    if not learned or not torch.is_grad_enabled():
        return out
    # Numbers and tensors alone: what torch.compile can take through an autograd.Function.
    window = out.shape[2] if span is None or span.window is None else span.window
    sinks = 0 if span is None else span.sinks
    constants = (x.detach() for x in (q, k, v, lse))
    return _GateTap.apply(
        out, gates.cumulative, gates.weights, *constants, *parts, scale, window, sinks
    )


class _GateTap(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, out: Tensor, cumulative: Tensor, weights: Tensor | None, q: Tensor, k: Tensor,
        v: Tensor, lse: Tensor, row: Tensor, row_rest: Tensor, key: Tensor, key_rest: Tensor,
        constant_weights: Tensor | None, scale: float, window: int, sinks: int,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(
            out, q, k, v, lse, row, row_rest, key, key_rest, constant_weights
        )  # fmt: skip
        ctx.numbers = (scale, window, sinks)
        ctx.dtypes = (cumulative.dtype, None if weights is None else weights.dtype)
        return out.view_as(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        out, q, k, v, lse, *parts = ctx.saved_tensors
        dsums, dweights = gate_gradients(q, k, v, out, lse, grad.to(q.dtype), *parts, *ctx.numbers)
        of_sums, of_weights = ctx.dtypes
        wanted = (
            dsums.to(of_sums) if ctx.needs_input_grad[1] else None,
            dweights.to(of_weights) if ctx.needs_input_grad[2] else None,
        )
        return grad, *wanted, *[None] * 12


@torch.library.custom_op("lengthgen::vector_gradient", mutates_args=())
def vector_gradient(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor, bias: Tensor,
    scale: float,
) -> Tensor:  # fmt: skip
    """Gradient (H, T) of a bias vector (H, T); deterministic if torch is asked to be."""
    ordered = torch.are_deterministic_algorithms_enabled()
    return implementation(q).vector_gradient(q, k, v, out, lse, grad, bias, scale, ordered=ordered)


@torch.library.custom_op("lengthgen::matrix_gradient", mutates_args=())
def matrix_gradient(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor, bias: Tensor,
    scale: float,
) -> Tensor:  # fmt: skip
    """Gradient (H, T, T) of a bias matrix (H, T, T); always deterministic."""
    return implementation(q).matrix_gradient(q, k, v, out, lse, grad, bias, scale)


@vector_gradient.register_fake
@matrix_gradient.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor, bias: Tensor,
    scale: float,
) -> Tensor:  # fmt: skip
    return bias.new_empty(bias.shape, dtype=torch.promote_types(q.dtype, torch.float32))


@torch.library.custom_op("lengthgen::gate_gradients", mutates_args=())
def gate_gradients(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor,
    row: Tensor, row_rest: Tensor, key: Tensor, key_rest: Tensor, weights: Tensor | None,
    scale: float, window: int, sinks: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Gradients (B, H, T) of running sums and of weights (without weights: an empty tensor).

    row, ..., weights: the fields of SplitGates. A query sees the last `window` keys and the first
    `sinks`. Always deterministic.
    """
    parts = SplitGates(row, row_rest, key, key_rest, weights)
    return gate_implementation(q)(q, k, v, out, lse, grad, parts, scale, Span(window, sinks))


@gate_gradients.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor,
    row: Tensor, row_rest: Tensor, key: Tensor, key_rest: Tensor, weights: Tensor | None,
    scale: float, window: int, sinks: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return torch.empty_like(key), key.new_empty(0) if weights is None else torch.empty_like(key)


def implementation(q: Tensor) -> ModuleType:
    """triton_bias where it can run, else torch_bias."""
    if _triton_can(q):
        from lengthgen.attention.kernels import triton_bias

        return triton_bias
    return torch_bias


def gate_implementation(q: Tensor) -> Callable[..., tuple[Tensor, Tensor]]:
    """`gate_gradients` of triton_gates where it can run, else of torch_bias."""
    if _triton_can(q):
        from lengthgen.attention.kernels import triton_gates

        return triton_gates.gate_gradients
    return torch_bias.gate_gradients


def _triton_can(q: Tensor) -> bool:
    # The Triton kernels compute in float32.
    return q.is_cuda and q.dtype != torch.float64 and find_spec("triton") is not None
