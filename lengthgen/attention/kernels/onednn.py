"""The product of activations and a weight, x W^T, by oneDNN: float32 on CPU.

Torch multiplies float32 matrices by MKL, which uses AVX-512 only on Intel's processors. oneDNN,
which torch carries for its compiler and for other number formats, asks the processor what it can
do. Measured on an AMD EPYC (family 26) with one thread, 4096 rows, widths 256 to 1024: 205 to 220
GFLOP/s where MKL reaches 90 to 98, and 160 to 185 for the gradient of a weight, whose factors are
transposed; a training step of 6 layers x 256 takes 0.64 of the time.

The operator is private to torch, though its compiler has called it since 2.0: `available` asks for
it, and linear.py falls back to torch. It copies its first factor unless that is stored by rows, and
reads its second through strides: at full speed if that or its transpose is contiguous, else a
thousand times slower, so that such a factor is copied here.

Shape letters: N rows, I inputs, O outputs.
"""

import functools
import platform
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@functools.cache
def available() -> bool:
    """Whether this torch has the operator."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@functools.cache
def faster() -> bool:
    """Whether torch's own product leaves half of this processor unused: AVX-512, not from Intel."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and "GenuineIntel" not in processor("vendor_id")
    )


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., I), weight (O, I), float32 on CPU -> (..., O). First derivatives only."""
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Product.apply(x, weight)
    return _multiply(x, weight)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()  # it may come expanded from a sum
        needs_x, needs_weight = ctx.needs_input_grad
        dx = _multiply(grad, weight.t()) if needs_x else None
        return dx, _weight_gradient(x, grad) if needs_weight else None


def _weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """(..., I), (..., O) -> grad^T x (O, I). The narrower one is the one that gets copied."""
    x, grad = x.flatten(0, -2).t(), grad.flatten(0, -2).t()
    return _multiply(x, grad).t() if len(x) <= len(grad) else _multiply(grad, x)


def _multiply(x: Tensor, weight: Tensor) -> Tensor:
    if not (weight.is_contiguous() or weight.t().is_contiguous()):
        weight = weight.contiguous()
    return _operator(x, weight)


def _operator(x: Tensor, weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], None)


def processor(key: str) -> str:
    """The value of a key of /proc/cpuinfo; without that file what Python knows of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            values = (line.partition(":")[2].strip() for line in file if line.startswith(key))
            return next(values, "")
    except OSError:
        return platform.processor()
