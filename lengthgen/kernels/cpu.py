"""Attention on CPU in float32: chunks of query rows through torch's CPU flash kernels, no tensor of length x length.

Torch's CPU flash kernel works through key blocks of 512, so is_causal saves nothing up to 512 tokens and a mask is never skipped.
A chunk of query rows against the keys that it can see restores the saving, and the chunk's mask carries both the bias and the causal
edge (offsets.py, rows.py). In training the two aten kernels are called directly and key gradients are added in place; autograd through
slices would pad every one of them with zeros. When the bias itself learns, recompute.py is the backward.

The aten names are private to torch, though unchanged since 2.2: `available` asks for them, and attention.py falls back to sdpa.py.

Shape letters: B batch, H heads, T queries = keys, D head size.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lengthgen.kernels import recompute, threads
from lengthgen.kernels.rows import spans


class ChunkedBias(Protocol):
    """What a bias must offer here: offsets.Offsets, rows.Blocks, rows.LazyBlocks."""

    reversed_keys: bool  # the masks run from the newest key to the oldest
    cheap: bool  # masks are views: every thread may ask for its own
    learned: tuple[Tensor, ...]  # the tensors that a gradient is wanted for

    def mask(self, first: int, last: int) -> Tensor:
        """(H or 1, last - first, last) float32, last stride 1, -inf in the future."""


def available() -> bool:
    """Whether this torch has the two kernels."""
    aten = torch.ops.aten
    return all(hasattr(aten, f"_scaled_dot_product_flash_attention_for_cpu{suffix}") for suffix in ("", "_backward"))


def chunk_of(length: int) -> int:
    """Query rows per chunk, a multiple of recompute.CHUNK: small enough to skip the future, large enough for the kernel (measured)."""
    return 64 if length <= 512 else 128 if length <= 2048 else 256


def attend(q: Tensor, k: Tensor, v: Tensor, bias: ChunkedBias, scale: float) -> Tensor:
    """q, k, v (B, H, T, D) float32 on CPU -> (B, H, T, D). First derivatives only: a second one raises RuntimeError."""
    q, k, v = (_dense_rows(x) for x in (q, k, v))
    if torch.is_grad_enabled() and (bias.learned or q.requires_grad or k.requires_grad or v.requires_grad):
        return _Attention.apply(q, k, v, scale, bias, *bias.learned)
    if bias.reversed_keys:
        k, v = k.flip(2), v.flip(2)
    return _forward(q, k, v, scale, bias)[0]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: ChunkedBias, *learned: Tensor) -> Tensor:
        if bias.reversed_keys:
            k, v = k.flip(2), v.flip(2)
        out, logsumexp = _forward(q, k, v, scale, bias)
        ctx.save_for_backward(q, k, v, out, logsumexp)
        ctx.scale, ctx.bias = scale, bias
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        backward = recompute.gradients if ctx.bias.learned else _backward
        dq, dk, dv, dbias = backward(*ctx.saved_tensors, _dense_rows(grad), ctx.scale, ctx.bias)
        if ctx.bias.reversed_keys:
            dk, dv = dk.flip(2), dv.flip(2)
        return dq, dk, dv, None, None, *dbias


def _forward(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: ChunkedBias) -> tuple[Tensor, Tensor]:
    """Output (B, H, T, D), laid out as (B, T, H, D) for the projection that follows, and log-sum-exp (B, H, T); k, v as `bias` orders."""
    batch, n_heads, length, size = q.shape
    out = q.new_empty(batch, length, n_heads, size).transpose(1, 2)
    logsumexp = q.new_empty(batch, n_heads, length)

    def work(*part: slice) -> None:
        _forward_part(q[part], k[part], v[part], out[part], logsumexp[part], scale, bias, part[1])

    threads.each(work, _parts(q, bias))
    return out, logsumexp


def _forward_part(q: Tensor, k: Tensor, v: Tensor, out: Tensor, logsumexp: Tensor, scale: float, bias: ChunkedBias, heads: slice) -> None:
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    length = q.shape[2]
    for first, last in spans(length, chunk_of(length)):
        rows, keys = slice(first, last), _visible(length, last, bias)
        out[:, :, rows], logsumexp[:, :, rows] = flash(
            q[:, :, rows], k[:, :, keys], v[:, :, keys], attn_mask=_mask(q, bias, first, last, heads), scale=scale
        )


def _backward(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, logsumexp: Tensor, grad: Tensor, scale: float, bias: ChunkedBias
) -> tuple[Tensor, Tensor, Tensor, tuple[()]]:
    """Gradients of q, k, v when the bias is fixed; k, v in the bias's order."""
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)

    def work(*part: slice) -> None:
        tensors = (x[part] for x in (q, k, v, out, logsumexp, grad, dq, dk, dv))
        _backward_part(*tensors, scale, bias, part[1])

    threads.each(work, _parts(q, bias))
    return dq, dk, dv, ()


def _backward_part(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, logsumexp: Tensor, grad: Tensor, dq: Tensor, dk: Tensor, dv: Tensor,
    scale: float, bias: ChunkedBias, heads: slice,
) -> None:  # fmt: skip
    """Writes dq, dk, dv: from the last chunk, which sees every key and so starts the sums, to the first."""
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    length = q.shape[2]
    for first, last in reversed(spans(length, chunk_of(length))):
        rows, keys = slice(first, last), _visible(length, last, bias)
        dq[:, :, rows], dk_part, dv_part = flash(
            grad[:, :, rows], q[:, :, rows], k[:, :, keys], v[:, :, keys], out[:, :, rows], logsumexp[:, :, rows],
            0.0, False, attn_mask=_mask(q, bias, first, last, heads), scale=scale,
        )  # fmt: skip
        if last == length:
            dk.copy_(dk_part)
            dv.copy_(dv_part)
        else:
            dk[:, :, keys] += dk_part
            dv[:, :, keys] += dv_part


def _parts(q: Tensor, bias: ChunkedBias) -> list[tuple[slice, slice]]:
    return threads.pieces(q.shape[0], q.shape[1]) if bias.cheap else [(slice(None), slice(None))]


def _mask(q: Tensor, bias: ChunkedBias, first: int, last: int, heads: slice) -> Tensor:
    mask = bias.mask(first, last)
    mask = mask if mask.shape[0] == 1 else mask[heads]
    return mask.expand(q.shape[0], q.shape[1], last - first, last)


def _visible(length: int, last: int, bias: ChunkedBias) -> slice:
    return slice(length - last, length) if bias.reversed_keys else slice(0, last)


def _dense_rows(x: Tensor) -> Tensor:
    """The kernels want the last axis contiguous (a gradient may come expanded from a sum)."""
    return x if x.stride(-1) == 1 else x.contiguous()
