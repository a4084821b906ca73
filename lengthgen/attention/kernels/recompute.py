"""Backward of attention with a learned bias: scores recomputed by chunks, gradients summed over B.

Autograd of torch's attention keeps (B, H, T, T) tensors once the mask requires a gradient. Here,
for a group of heads and a chunk of query rows at a time, the weights are recomputed from the saved
log-sum-exp, as in FlashAttention (Dao et al., 2022, arXiv:2205.14135, algorithm 4). One more column
makes the matrix products yield centred quantities, so that few passes over the scores remain:
[scale q, -lse] . [k, 1] = scores - lse, and [dO, -delta] . [v, 1] = dP - delta with
delta = sum(dO * O). Exact gradients; memory O(chunk x T) per group.

exp is taken as exp2: torch's is four times faster, and sixty times where results are denormal
(measured: forward and backward take 0.79 to 0.97 of the time). The factor log2(e) goes on the
difference scores - lse, in its own pass: its rounding counts only for scores far below the maximum,
which have no weight. Folded into the product it costs 2 to 4 times the error, because q k^T and lse
cancel.

Shape letters beside those of __init__.py: G heads of a group.
"""

import math
from typing import Any

import torch
from torch import Tensor

from lengthgen.attention.kernels import threads
from lengthgen.attention.kernels.rows import spans
from lengthgen.attention.kernels.windows_and_sinks import add_at, key_slices, most_keys, take

CHUNK = 64  # query rows; divides the blocks of rows.Blocks
LOG2E = math.log2(math.e)


def gradients(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    scale: float,
    bias: Any,
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
    """Gradients of q, k, v (B, H, T, D) and of the bias's learned tensors.

    k and v in the bias's order of keys; bias: a cpu.ChunkedBias that learns.
    """
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    dbias = bias.gradient()

    def work(_: slice, heads: slice) -> None:
        q_scaled = _with_column(q[:, heads] * scale, -logsumexp[:, heads])
        k_one = _with_column(k[:, heads], 1.0)
        v_one = _with_column(v[:, heads], 1.0)
        grad_delta = _with_column(grad[:, heads], -(grad[:, heads] * out[:, heads]).sum(-1))
        parts = _group(q_scaled, k_one, v_one, grad_delta, bias, dbias, heads)
        for whole, part, factor in zip((dq, dk, dv), parts, (scale, 1.0, 1.0), strict=True):
            torch.mul(part, factor, out=whole[:, heads])

    threads.each(work, threads.head_groups(q.shape[0], q.shape[1]))
    return dq, dk, dv, dbias.result()


def _with_column(x: Tensor, column: Tensor | float) -> Tensor:
    """(B, G, T, D) and (B, G, T) -> (B, G, T, D + 1), contiguous."""
    wide = x.new_empty(*x.shape[:-1], x.shape[-1] + 1)
    wide[..., :-1] = x
    wide[..., -1] = column
    return wide


def _group(
    q: Tensor, k: Tensor, v: Tensor, grad: Tensor, bias: Any, dbias: Any, heads: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients (B, G, T, D) of q (unscaled), k and v of one group; adds the bias's to `dbias`."""
    batch, n_heads, length, _ = q.shape
    q, k, v, grad = (x.flatten(0, 1) for x in (q, k, v, grad))
    dq = q.new_empty(q[..., 1:].shape)
    dk, dv = (x.new_zeros(x[..., 1:].shape) for x in (k, v))
    # Views are made once for all chunks: threads share one interpreter, and wait for it.
    k_across, v_across, k_alone = k.transpose(1, 2), v.transpose(1, 2), k[..., :-1]
    by_chunk = (x.split(CHUNK, dim=1) for x in (q, q[..., :-1], grad, grad[..., :-1], dq))
    chunks = zip(*by_chunk, strict=True)
    # Two buffers serve every chunk, so that no chunk allocates.
    n_keys = most_keys(bias.span, CHUNK, length)
    scratch = q.new_empty(2, q.shape[0] * min(CHUNK, length) * n_keys)
    for (first, last), (some_q, q_alone, some_grad, grad_alone, some_dq) in zip(
        spans(length, CHUNK), chunks, strict=True
    ):
        keys = key_slices(first, last, bias.span, length, bias.reversed_keys)
        by_head = (batch, n_heads, last - first, sum(s.stop - s.start for s in keys))
        weights, dscores = (
            buffer[: math.prod(by_head)].view(q.shape[0], *by_head[2:]) for buffer in scratch
        )
        # The mask first, so that the product is added to it in place: P = exp(scores - lse).
        weights.view(by_head).copy_(bias.mask(slice(None), heads, first, last))
        weights.baddbmm_(some_q, take(k_across, keys, dim=2)).mul_(LOG2E).exp2_()
        _add_product(dv, keys, weights.transpose(1, 2), grad_alone)
        # dS = P * (dP - delta), of which dq, dk and the bias's gradient are made.
        torch.bmm(some_grad, take(v_across, keys, dim=2), out=dscores)
        dscores.mul_(weights)
        torch.bmm(dscores, take(k_alone, keys, dim=1), out=some_dq)
        _add_product(dk, keys, dscores.transpose(1, 2), q_alone)
        dbias.add(heads, first, last, dscores.view(by_head))
    dq, dk, dv = (x.unflatten(0, (batch, n_heads)) for x in (dq, dk, dv))
    return dq, dk, dv


def _add_product(total: Tensor, keys: list[slice], a: Tensor, b: Tensor) -> None:
    if len(keys) == 1:
        total[:, keys[0]].baddbmm_(a, b)
    else:
        add_at(total, keys, a @ b, dim=1)
