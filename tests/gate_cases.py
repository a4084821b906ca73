"""Running sums as a bias: cases, the float64 definition, and a run of a kernel, for the tests."""

import math

import torch
from torch import Tensor

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Gates, Span
from lengthgen.attention.kernels import windows_and_sinks
from lengthgen.attention.kernels.split_gates import split

from .attention_cases import inputs

FALLS = {
    "gentle": -0.1,
    "strong": -40.0,
}  # of the sum, each token, on average; strong: -10,000 at 257 tokens
SPANS = (None, Span(20), Span(20, 3), Span(64, 30))


def sums(batch: int, n_heads: int, length: int, fall: float) -> Tensor:
    """Running sums (B, H, T), float64, that mostly fall."""
    generator = torch.Generator().manual_seed(length)
    steps = fall * torch.rand(batch, n_heads, length, generator=generator, dtype=torch.float64) * 2
    return (
        steps + 0.3 * torch.randn(batch, n_heads, length, generator=generator, dtype=torch.float64)
    ).cumsum(-1)


def definition(
    tensors: list[Tensor],
    grad: Tensor,
    cumulative: Tensor,
    scale: float,
    span: Span | None = None,
    weights: Tensor | None = None,
) -> list[Tensor]:
    leaves = [
        x.detach().double().requires_grad_()
        for x in (*tensors, cumulative, *([] if weights is None else [weights]))
    ]
    q, k, v, c, *w = leaves
    i, j = torch.arange(q.shape[2])[:, None], torch.arange(q.shape[2])
    hidden = j > i
    if span is not None:
        hidden = hidden | ((i - j >= span.window) & (j >= span.sinks))
    between = c[..., :, None] - c[..., None, :]
    scores = scale * q @ k.transpose(-1, -2) + (w[0][..., None] * between if w else between)
    out = scores.masked_fill(hidden, -math.inf).softmax(-1) @ v
    return [out.detach(), *torch.autograd.grad(out, leaves, grad.double())]


def run(
    force: str, dtype: torch.dtype, tensors: list[Tensor], grad: Tensor, cumulative: Tensor,
    scale: float, span: Span | None = None,
    weights: Tensor | None = None,
) -> list[Tensor]:  # fmt: skip
    gates_and_weights = [cumulative] if weights is None else [cumulative, weights]
    leaves = [
        *(x.detach().to(dtype).requires_grad_() for x in tensors),
        *(x.clone().requires_grad_() for x in gates_and_weights),
    ]
    out = dispatch.attend(*leaves[:3], Gates(*leaves[3:]), scale, force=force, span=span)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad.to(dtype))]


def query_weights(length: int) -> Tensor:
    return 1.5 * torch.rand(2, 2, length, generator=torch.Generator().manual_seed(1)) - 0.05


Case = tuple[tuple, list[Tensor]]


def gradient_case(
    length: int,
    fall: float,
    span: Span | None,
    weighted: bool,
    dtype: torch.dtype = torch.float32,
    size: int = 16,
) -> Case:
    """What gate_gradients takes, from the float64 definition, and the gradients of that."""
    tensors, grad, _ = inputs(2, 2, length, size)
    tensors, grad = [x.to(dtype) for x in tensors], grad.to(dtype)
    cumulative, weights = sums(2, 2, length, fall), query_weights(length) if weighted else None
    out, *gradients = definition(tensors, grad, cumulative, 0.25, span, weights)
    bias = split(Gates(cumulative, weights), span, torch.float64).block(0, length)
    scores = 0.25 * tensors[0].double() @ tensors[1].double().mT + bias
    lse = windows_and_sinks.hide(scores, 0, length, span).logsumexp(-1).float()
    parts = split(Gates(cumulative, weights), span, torch.float32)
    whole = span or Span(length)
    return (*tensors, out.to(dtype), lse, grad, parts, 0.25, whole), gradients[3:]
