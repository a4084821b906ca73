"""The gradient of running sums (Gates) on CUDA: one Triton kernel, no atomics. For bias_tap.py.

With bias[i, j] = w_i (c_i - c_j) and dS the gradient of the biased scores (see triton_bias.py)

    dc_t = w_t (sum over j of dS[t, j]) - sum over i of w_i dS[i, t]
    dw_i = sum over j of dS[i, j] (c_i - c_j)

The sum of a row of dS is zero but for the rounding of the output in delta = sum(dO * O). It is not
left out: gates get the sums of dc over all later tokens, in which such errors would pile up. So
they cancel, as both sums hold the same error.

A program has a block of keys, which it keeps, and walks over the queries that see some of them. It
adds dS up in registers for the sums over queries. Sums over its keys it stores for each query, and
torch adds those of all programs: two numbers a query and block, T / COLUMNS of both.

Shape letters beside those of __init__.py: N blocks of keys.
"""

import itertools

import torch
import triton
import triton.language as tl
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels.split_gates import SplitGates
from lengthgen.attention.kernels.triton_bias import Cut, Tile, padded_size, row_products


@triton.jit
def _gate_sums(q, k, v, grad, lse, delta, row, row_rest, key, key_rest, weights,
               of_keys, of_rows, of_weights,
               q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, grad_b, grad_h, grad_t,
               n_heads, length, window, sinks, scale,
               SIZE: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr,
               COLUMNS: tl.constexpr, WEIGHTED: tl.constexpr):  # fmt: skip
    """Sums of dS. Grid (N, B H).

    lse to key_rest, weights if WEIGHTED, and of_keys: (B, H, T); of_rows, of_weights if WEIGHTED:
    (N, B, H, T), zeros where a program does not come; all float32 and contiguous.
    """
    LOG2E: tl.constexpr = 1.4426950408889634
    # Blocks with the most rows, the first ones, start first.
    block, pair = tl.program_id(0), tl.program_id(1).to(tl.int64)
    sequence, head = pair // n_heads, pair % n_heads
    r, c, x = tl.arange(0, ROWS), tl.arange(0, COLUMNS), tl.arange(0, PADDED)
    start = block * COLUMNS
    j = start + c
    within = (x < SIZE)[None, :]
    columns = (j < length)[:, None] & within
    k_tile = tl.load(
        k + sequence * k_b + head * k_h + j[:, None] * k_t + x[None, :], mask=columns, other=0.0
    )
    v_tile = tl.load(
        v + sequence * v_b + head * v_h + j[:, None] * v_t + x[None, :], mask=columns, other=0.0
    )
    numbers = pair * length
    key_sum = tl.load(key + numbers + j, mask=j < length, other=0.0)
    key_left = tl.load(key_rest + numbers + j, mask=j < length, other=0.0)
    # A sink is seen by all later rows, other keys by a window's.
    past = tl.minimum(length, start + COLUMNS - 1 + window)
    past = tl.where(start < sinks, length, past)
    slot = (block.to(tl.int64) * tl.num_programs(1) + pair) * length
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for first in range(start // ROWS * ROWS, past, ROWS):
        i = first + r
        rows = (i < length)[:, None] & within
        q_tile = tl.load(
            q + sequence * q_b + head * q_h + i[:, None] * q_t + x[None, :], mask=rows, other=0.0
        )
        grad_tile = tl.load(
            grad + sequence * grad_b + head * grad_h + i[:, None] * grad_t + x[None, :],
            mask=rows,
            other=0.0,
        )
        # Rows past the end get weights of 0.
        row_lse = tl.load(lse + numbers + i, mask=i < length, other=float("inf"))
        row_delta = tl.load(delta + numbers + i, mask=i < length, other=0.0)
        row_sum = tl.load(row + numbers + i, mask=i < length, other=0.0)
        row_left = tl.load(row_rest + numbers + i, mask=i < length, other=0.0)
        # In this order: see split_gates.py.
        between = (row_sum[:, None] - key_sum[None, :]) + (row_left[:, None] - key_left[None, :])
        bias = between
        if WEIGHTED:
            row_weight = tl.load(weights + numbers + i, mask=i < length, other=0.0)
            bias = row_weight[:, None] * between
        offset = i[:, None] - j[None, :]
        seen = (offset >= 0) & ((offset < window) | (j < sinks)[None, :])
        scores = tl.dot(q_tile, tl.trans(k_tile), input_precision="ieee") * (scale * LOG2E)
        scores += (bias - row_lse[:, None]) * LOG2E
        scores = tl.exp2(tl.where(seen, scores, float("-inf"))) * (
            tl.dot(grad_tile, tl.trans(v_tile), input_precision="ieee") - row_delta[:, None]
        )
        if WEIGHTED:
            tl.store(of_weights + slot + i, tl.sum(scores * between, axis=1), mask=i < length)
            scores *= row_weight[:, None]
        total += scores
        tl.store(of_rows + slot + i, tl.sum(scores, axis=1), mask=i < length)
    tl.store(of_keys + numbers + j, tl.sum(total, axis=0), mask=j < length)


def gate_gradients(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor, gates: SplitGates,
    scale: float, span: Span, *, tile: Tile | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Gradients (B, H, T), float32, of running sums and of weights (empty without weights).

    q, k, v, out and its gradient (B, H, T, D), one dtype of bfloat16, float16, float32; lse
    (B, H, T) natural. Deterministic. tile: rows and columns; None is that of `cut_of`.
    """
    batch, n_heads, length, size = q.shape
    weights, weighted = gates.weights, gates.weights is not None
    cut = cut_of(q.dtype, size)
    rows, columns = tile or cut.tile
    q, k, v, grad = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v, grad))
    delta = row_products(grad, out)
    n_blocks = triton.cdiv(length, columns)
    of_keys = torch.empty_like(delta)
    of_rows = delta.new_zeros(n_blocks, *delta.shape)
    of_weights = torch.zeros_like(of_rows) if weighted else of_rows.new_zeros(0)
    # Without weights the kernel reads none, but wants a tensor.
    numbers = (
        lse,
        delta,
        gates.row,
        gates.row_rest,
        gates.key,
        gates.key_rest,
        delta if weights is None else weights,
    )
    _gate_sums[(n_blocks, batch * n_heads)](
        q, k, v, grad, *(x.float().contiguous() for x in numbers), of_keys, of_rows, of_weights,
        *itertools.chain(*(x.stride()[:3] for x in (q, k, v, grad))),
        n_heads, length, length if span.window is None else span.window, span.sinks, scale,
        SIZE=size, PADDED=padded_size(size), ROWS=rows, COLUMNS=columns, WEIGHTED=weighted,
        num_warps=cut.warps, num_stages=cut.stages,
    )  # fmt: skip
    return of_rows.sum(0) - of_keys, of_weights.sum(0) if weighted else of_weights


def cut_of(dtype: torch.dtype, size: int) -> Cut:
    """The largest tile without register spills on sm_90, as triton_bias.cut_of."""
    if dtype != torch.float32:
        return Cut((64, 128), 8, 3)
    return Cut((32, 32) if padded_size(size) <= 64 else (32, 16), 4, 1)
