"""The gradient of a bias, tapped from an attention that knows the bias as a constant.

Fast attention kernels give the gradients of q, k, v, but that of a bias slowly or not at all. So
the kernel reads a detached bias, and its output passes through an identity. On the way back that
identity hands dO on unchanged, and computes the bias's gradient from dO, q, k, v, the output and
the log-sum-exp: two more of attention's seven matrix products. By Triton (triton_bias.py) on CUDA,
else by torch_bias.py.

The two operators are registered with torch, so that torch.compile takes each for one call and does
not look inside.
"""

from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lengthgen.attention.kernels import torch_bias


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


def implementation(q: Tensor) -> ModuleType:
    """triton_bias where it can run, else torch_bias."""
    # The Triton kernel computes in float32.
    if q.is_cuda and q.dtype != torch.float64 and find_spec("triton") is not None:
        from lengthgen.attention.kernels import triton_bias

        return triton_bias
    return torch_bias
