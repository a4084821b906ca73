"""Attention on CPU in float32: chunks of query rows through torch's CPU flash kernels.

No tensor of length x length. Torch's CPU flash kernel works through key blocks of 512, so is_causal
saves nothing up to 512 tokens, and a mask never skips a block. A chunk of query rows against the
keys that it sees restores the saving, and the chunk's mask carries both the bias and the causal
edge. In training the two aten kernels are called directly and key gradients are added in place:
autograd through slices would pad each of them with zeros. When the bias learns, recompute.py is the
backward.

The aten names are private to torch, though unchanged since 2.2: `available` asks for them, and
dispatch.py falls back to sdpa.py.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import recompute, threads, tiles
from lengthgen.attention.kernels.rows import chunks
from lengthgen.attention.kernels.threads import Part
from lengthgen.attention.kernels.windows_and_sinks import add_at


@runtime_checkable
class ChunkedBias(Protocol):
    """What a bias must offer: offsets.Offsets, rows.Blocks, rows.LazyBlocks, gates.GateRows."""

    chunk: int  # the most query rows at a time
    span: Span | None  # which keys a query sees; key_slices: where they are
    reversed_keys: bool  # the masks run from the newest key to the oldest
    learned: tuple[Tensor, ...]  # the tensors that a gradient is wanted for

    def parts(self, batch: int, n_heads: int) -> list[Part]:
        """What is worked on at a time, by one thread each, so that masks are cheap."""

    def mask(self, sequences: slice, heads: slice, first: int, last: int) -> Tensor:
        """Queries first..last-1 against the keys that any of them sees, -inf where one does not.

        (sequences or 1, heads or 1, last - first, keys) float32 with last stride 1.
        """


def available() -> bool:
    """Whether this torch has the two kernels."""
    aten = torch.ops.aten
    return all(
        hasattr(aten, f"_scaled_dot_product_flash_attention_for_cpu{suffix}")
        for suffix in ("", "_backward")
    )


def chunk_of(length: int) -> int:
    """Query rows per chunk: few enough to skip the future, enough for the kernel (measured).

    A multiple of recompute.CHUNK, and below tiles.QUERIES, by which `_forward` knows tiles.
    """
    return 64 if length <= 512 else 128 if length <= 2048 else 256


def attend(q: Tensor, k: Tensor, v: Tensor, bias: ChunkedBias, scale: float) -> Tensor:
    """q, k, v (B, H, T, D) float32 on CPU -> (B, H, T, D). RuntimeError for second derivatives."""
    q, k, v = (_dense_rows(x) for x in (q, k, v))
    if torch.is_grad_enabled() and (
        bias.learned or q.requires_grad or k.requires_grad or v.requires_grad
    ):
        return _Attention.apply(q, k, v, scale, bias, *bias.learned)
    if bias.reversed_keys:
        k, v = k.flip(2), v.flip(2)
    return _forward(q, k, v, scale, bias)[0]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float, bias: ChunkedBias, *learned: Tensor
    ) -> Tensor:
        if bias.reversed_keys:
            k, v = k.flip(2), v.flip(2)
        out, logsumexp = _forward(q, k, v, scale, bias)
        ctx.save_for_backward(q, k, v, out, logsumexp)
        ctx.scale, ctx.bias = scale, bias
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        # k and v were saved in the bias's order, so dk and dv come in that order too.
        q, k, v, out, logsumexp = ctx.saved_tensors
        gradients = recompute.gradients if ctx.bias.learned else _backward
        dq, dk, dv, dbias = gradients(
            q, k, v, out, logsumexp, _dense_rows(grad), ctx.scale, ctx.bias
        )
        if ctx.bias.reversed_keys:
            dk, dv = dk.flip(2), dv.flip(2)
        return dq, dk, dv, None, None, *dbias


def _forward(
    q: Tensor, k: Tensor, v: Tensor, scale: float, bias: ChunkedBias
) -> tuple[Tensor, Tensor]:
    """Output (B, H, T, D) and log-sum-exp (B, H, T); k and v in the bias's order."""
    batch, n_heads, length, size = q.shape
    # Laid out as (B, T, H, D), for the projection that follows.
    out = q.new_empty(batch, length, n_heads, size).transpose(1, 2)
    logsumexp = q.new_empty(batch, n_heads, length)

    # No other chunk has as many rows as those of tiles.
    forward_part = tiles.forward_part if bias.chunk == tiles.QUERIES else _forward_part

    def work(sequences: slice, heads: slice) -> None:
        part = (sequences, heads)
        tensors = (x[part] for x in (q, k, v, out, logsumexp))
        forward_part(*tensors, scale=scale, bias=bias, part=part)

    threads.each(work, bias.parts(*q.shape[:2]))
    return out, logsumexp


def _forward_part(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    *,
    scale: float,
    bias: ChunkedBias,
    part: Part,
) -> None:
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    for rows, _, some_k, some_v, mask in chunks(q, k, v, bias, part):
        out[:, :, rows], logsumexp[:, :, rows] = flash(
            q[:, :, rows], some_k, some_v, attn_mask=mask, scale=scale
        )


def _backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    scale: float,
    bias: ChunkedBias,
) -> tuple[Tensor, Tensor, Tensor, tuple[()]]:
    """Gradients of q, k, v when the bias is fixed; k, v in the bias's order."""
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)

    def work(sequences: slice, heads: slice) -> None:
        part = (sequences, heads)
        tensors = (x[part] for x in (q, k, v, out, logsumexp, grad, dq, dk, dv))
        _backward_part(*tensors, scale=scale, bias=bias, part=part)

    threads.each(work, bias.parts(*q.shape[:2]))
    return dq, dk, dv, ()


def _backward_part(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, logsumexp: Tensor, grad: Tensor,
    dq: Tensor, dk: Tensor, dv: Tensor, *, scale: float, bias: ChunkedBias, part: Part,
) -> None:  # fmt: skip
    """Writes dq, dk, dv, from the last chunk to the first.

    Without a span the last chunk sees every key, so that it starts the sums of dk and dv.
    """
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    if bias.span is not None:
        # Under a span no chunk writes every key, so that the sums start from zero.
        dk.zero_()
        dv.zero_()
    for rows, keys, some_k, some_v, mask in chunks(q, k, v, bias, part, backwards=True):
        dq[:, :, rows], dk_part, dv_part = flash(
            grad[:, :, rows],
            q[:, :, rows],
            some_k,
            some_v,
            out[:, :, rows],
            logsumexp[:, :, rows],
            0.0,
            False,
            attn_mask=mask,
            scale=scale,
        )
        if rows.stop == q.shape[2] and bias.span is None:
            dk.copy_(dk_part)
            dv.copy_(dv_part)
        else:
            add_at(dk, keys, dk_part, dim=2)
            add_at(dv, keys, dv_part, dim=2)


def _dense_rows(x: Tensor) -> Tensor:
    """The kernels want the last axis contiguous (a gradient may come expanded from a sum)."""
    return x if x.stride(-1) == 1 else x.contiguous()
