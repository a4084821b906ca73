"""The gradient of a score bias on CUDA: one Triton kernel, no atomic per element. For bias_tap.py.

With P = exp(scale q k^T + bias - lse), the gradient of the biased scores is dS = P * (dO v^T -
delta), delta = sum(dO * O) (FlashAttention, Dao et al., 2022, arXiv:2205.14135, algorithm 4). The
gradient of the bias is the sum of dS over all scores that share an entry. Torch's FlexAttention
adds every element of dS to its entry by one atomic. Here a program walks along one block diagonal,
over tiles and sequences, and keeps the sum of its tiles of dS in registers, because all of them
touch the same offsets. Only then does it sum the diagonals inside the tile, once: a gather shears
the tile so that equal offsets stand in one column.

Three ways out: `ordered` stores every program's offset sums, and a second kernel adds them in a
fixed order (deterministic); `atomic` adds them to the vector; `matrix` (Rows) stores dS itself, one
program per tile.

Shape letters beside those of __init__.py: R, C rows and columns of a tile (R a multiple of C).
"""

import itertools
from functools import lru_cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

# About how many to spread the work over: a few waves on 132 multiprocessors (a guess).
PROGRAMS = 2048

Tile = tuple[int, int]  # rows R and columns C: powers of two of at least 16, R a multiple of C


class Cut(NamedTuple):
    """How a kernel is compiled: its tile, warps, and stages of the pipeline that loads ahead."""

    tile: Tile
    warps: int
    stages: int


@triton.jit
def _row_sums(grad, out, delta, grad_b, grad_h, grad_t, out_b, out_h, out_t, n_heads, length,
              SIZE: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr):  # fmt: skip
    """delta[b, h, i] = sum over d of grad * out, in float32. Grid (row tiles, B H)."""
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    x = tl.arange(0, PADDED)
    sequence, head = (tl.program_id(1) // n_heads).to(tl.int64), tl.program_id(1) % n_heads
    inside = (i < length)[:, None] & (x < SIZE)[None, :]
    a = tl.load(
        grad + sequence * grad_b + head * grad_h + i[:, None] * grad_t + x[None, :],
        mask=inside,
        other=0.0,
    )
    b = tl.load(
        out + sequence * out_b + head * out_h + i[:, None] * out_t + x[None, :],
        mask=inside,
        other=0.0,
    )
    total = tl.sum(a.to(tl.float32) * b.to(tl.float32), axis=1)
    tl.store(delta + tl.program_id(1).to(tl.int64) * length + i, total, mask=i < length)


@triton.jit
def _score_gradients(q, k, v, grad, lse, delta, bias, schedule, result,
                     q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, grad_b, grad_h, grad_t,
                     n_heads, length, n_programs, scale,
                     SIZE: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr,
                     COLUMNS: tl.constexpr, MODE: tl.constexpr):  # fmt: skip
    """Sums of dS. Grid (programs, H).

    schedule (programs, 5): first tile of the diagonal (row, column), tiles on it, first item, last
    item. An item is a (sequence, tile of the diagonal). lse, delta (B, H, T); bias and result as
    MODE wants them, all float32 and contiguous.
    """
    LOG2E: tl.constexpr = 1.4426950408889634
    program, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    tile_row, tile_column = tl.load(schedule + 5 * program), tl.load(schedule + 5 * program + 1)
    count = tl.load(schedule + 5 * program + 2)
    first, last = tl.load(schedule + 5 * program + 3), tl.load(schedule + 5 * program + 4)
    r, c, x = tl.arange(0, ROWS), tl.arange(0, COLUMNS), tl.arange(0, PADDED)
    start = tile_row * ROWS - tile_column * COLUMNS  # the same for every tile of the diagonal
    offset = start + r[:, None] - c[None, :]
    # The future gets -inf and so needs no other test: its weights come out as exp2(-inf) = 0.
    if MODE == "matrix":
        place = (
            (head * length + tile_row * ROWS + r[:, None]) * length
            + tile_column * COLUMNS
            + c[None, :]
        )
        known = (offset >= 0) & (tile_row * ROWS + r < length)[:, None]
    else:
        place = head * length + offset
        known = (offset >= 0) & (offset < length)
    tile_bias = tl.load(bias + place, mask=known, other=float("-inf")) * LOG2E
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    within = (x < SIZE)[None, :]
    for item in range(first, last):
        sequence, step = (item // count).to(tl.int64), item % count
        i = (tile_row + step) * ROWS + r
        j = (tile_column + step * (ROWS // COLUMNS)) * COLUMNS + c
        rows, columns = (i < length)[:, None] & within, (j < length)[:, None] & within
        q_tile = tl.load(
            q + sequence * q_b + head * q_h + i[:, None] * q_t + x[None, :], mask=rows, other=0.0
        )
        k_tile = tl.load(
            k + sequence * k_b + head * k_h + j[:, None] * k_t + x[None, :], mask=columns, other=0.0
        )
        grad_tile = tl.load(
            grad + sequence * grad_b + head * grad_h + i[:, None] * grad_t + x[None, :],
            mask=rows,
            other=0.0,
        )
        v_tile = tl.load(
            v + sequence * v_b + head * v_h + j[:, None] * v_t + x[None, :], mask=columns, other=0.0
        )
        row = (sequence * n_heads + head) * length + i
        # Rows past the end get weights of 0.
        row_lse = tl.load(lse + row, mask=i < length, other=float("inf")) * LOG2E
        row_delta = tl.load(delta + row, mask=i < length, other=0.0)
        scores = tl.dot(q_tile, tl.trans(k_tile), input_precision="ieee") * (scale * LOG2E)
        weights = tl.exp2(scores + (tile_bias - row_lse[:, None]))
        total += weights * (
            tl.dot(grad_tile, tl.trans(v_tile), input_precision="ieee") - row_delta[:, None]
        )
    if MODE == "matrix":
        tl.store(result + place, total, mask=known)
    else:
        # Column p of the sheared tile holds the entries with offset = p modulo C. Which multiple of
        # C is added depends on the row: 0 .. R / C, one more than the multiple.
        source = (r[:, None] - c[None, :] + COLUMNS) % COLUMNS
        sheared = tl.gather(total, source, 1)
        multiple = (r[:, None] - c[None, :] - source + COLUMNS) // COLUMNS
        for part in tl.static_range(ROWS // COLUMNS + 1):
            sums = tl.sum(tl.where(multiple == part, sheared, 0.0), axis=0)
            if MODE == "atomic":
                target = start + (part - 1) * COLUMNS + c
                tl.atomic_add(
                    result + head * length + target,
                    sums,
                    mask=(target >= 0) & (target < length),
                    sem="relaxed",
                )
            else:
                slot = (head * n_programs + program) * (ROWS // COLUMNS + 1) + part
                tl.store(result + slot * COLUMNS + c, sums)


@triton.jit
def _ordered_sums(parts, starts, result, n_programs, n_diagonals, length,
                  RATIO: tl.constexpr, COLUMNS: tl.constexpr):  # fmt: skip
    """Adds what `ordered` stored. Grid (offset blocks, H).

    parts (H, programs, RATIO + 1, C); starts: first program of each diagonal.
    """
    block, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, COLUMNS)
    total = tl.zeros((COLUMNS,), dtype=tl.float32)
    for part in tl.static_range(RATIO + 1):
        diagonal = block - (part - 1) + (RATIO - 1)  # the first diagonal is number 1 - RATIO
        exists = (diagonal >= 0) & (diagonal < n_diagonals)
        first = tl.load(starts + diagonal, mask=exists, other=0)
        last = tl.load(starts + diagonal + 1, mask=exists, other=0)
        for program in range(first, last):
            place = (head * n_programs + program) * (RATIO + 1) + part
            total += tl.load(parts + place * COLUMNS + c)
    offset = block * COLUMNS + c
    tl.store(result + head * length + offset, total, mask=offset < length)


def vector_gradient(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor, vector: Tensor,
    scale: float, *, ordered: bool = True, tile: Tile | None = None, programs: int = PROGRAMS,
) -> Tensor:  # fmt: skip
    """Gradient (H, T), float32, of a bias vector (H, T) by offset.

    q, k, v, out and its gradient (B, H, T, D), one dtype of bfloat16, float16, float32; lse
    (B, H, T) natural. ordered: the same bits every time; otherwise atomics. tile, programs: how the
    work is cut; None is `cut_of`.
    """
    n_heads, length = q.shape[1:3]
    cut = _cut(q, "vector", tile)
    tile = cut.tile
    schedule, starts = _schedule(length, q.shape[0], -(-programs // n_heads), *tile, q.device)
    n_programs, n_diagonals, ratio = len(schedule), len(starts) - 1, tile[0] // tile[1]
    gradient = torch.zeros(n_heads, length, dtype=torch.float32, device=q.device)
    if not ordered:
        return _launch(q, k, v, out, lse, grad, vector, scale, cut, schedule, gradient, "atomic")
    parts = torch.empty(
        n_heads, n_programs, ratio + 1, tile[1], dtype=torch.float32, device=q.device
    )
    _launch(q, k, v, out, lse, grad, vector, scale, cut, schedule, parts, "ordered")
    grid = (-(-length // tile[1]), n_heads)
    sizes = (n_programs, n_diagonals, length)
    _ordered_sums[grid](parts, starts, gradient, *sizes, RATIO=ratio, COLUMNS=tile[1], num_warps=1)
    return gradient


def matrix_gradient(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor, matrix: Tensor,
    scale: float, *, tile: Tile | None = None,
) -> Tensor:  # fmt: skip
    """Gradient (H, T, T), float32, of a bias matrix (H, T, T); zero above the diagonal.

    Deterministic. Arguments as in `vector_gradient`.
    """
    cut = _cut(q, "matrix", tile)
    schedule, _ = _schedule(q.shape[2], q.shape[0], 0, *cut.tile, q.device)
    gradient = torch.zeros(q.shape[1], q.shape[2], q.shape[2], dtype=torch.float32, device=q.device)
    return _launch(q, k, v, out, lse, grad, matrix, scale, cut, schedule, gradient, "matrix")


def cut_of(dtype: torch.dtype, size: int, form: str) -> Cut:
    """The largest tile without register spills on sm_90, within an H100's 232,448 bytes of shared
    memory, of those that tests/compiled_kernels.py compiles. form: vector or matrix, the bias's.

    A larger tile reads fewer bytes for each score: the kernel is bound by the second cache.
    """
    padded = padded_size(size)
    if dtype != torch.float32:
        stages = 3 if padded <= 64 else 2  # as many as shared memory holds
        large = form == "vector" or padded == 64
        return Cut((128, 64), 8, stages) if large else Cut((64, 32), 4, stages)
    # Exact float32 products have no tensor cores to use, and loading ahead costs them registers.
    if padded > 64:
        return Cut((32, 16) if form == "vector" else (16, 16), 4, 1)
    return Cut((64, 64) if padded == 64 else (64, 32), 4, 1)


def padded_size(size: int) -> int:
    """A head's size as tl.dot takes it."""
    return max(16, triton.next_power_of_2(size))


def row_products(grad: Tensor, out: Tensor) -> Tensor:
    """delta (B, H, T), float32: the sums over d of grad * out, both (B, H, T, D)."""
    batch, n_heads, length, size = out.shape
    grad, out = (x if x.stride(-1) == 1 else x.contiguous() for x in (grad, out))
    delta = torch.empty(batch, n_heads, length, dtype=torch.float32, device=out.device)
    _row_sums[(triton.cdiv(length, 64), batch * n_heads)](
        grad, out, delta, *grad.stride()[:3], *out.stride()[:3], n_heads, length,
        SIZE=size, PADDED=padded_size(size), ROWS=64,
    )  # fmt: skip
    return delta


def _cut(q: Tensor, form: str, tile: Tile | None) -> Cut:
    """That of `cut_of`, or one for a given tile."""
    cut = cut_of(q.dtype, q.shape[-1], form)
    return cut if tile is None else Cut(tile, 4 if tile[0] <= 64 else 8, cut.stages)


def _launch(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor, bias: Tensor,
    scale: float, cut: Cut, schedule: Tensor, result: Tensor, mode: str,
) -> Tensor:  # fmt: skip
    _, n_heads, length, size = q.shape
    q, k, v, grad = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v, grad))
    delta = row_products(grad, out)
    strides = [x.stride()[:3] for x in (q, k, v, grad)]
    lse, bias = lse.float().contiguous(), bias.float().contiguous()
    _score_gradients[(len(schedule), n_heads)](
        q, k, v, grad, lse, delta, bias, schedule, result, *itertools.chain(*strides),
        n_heads, length, len(schedule), scale,
        SIZE=size, PADDED=padded_size(size), ROWS=cut.tile[0], COLUMNS=cut.tile[1], MODE=mode,
        num_warps=cut.warps, num_stages=cut.stages,
    )  # fmt: skip
    return result


@lru_cache(maxsize=64)
def _schedule(
    length: int, batch: int, n_programs: int, rows: int, columns: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """About `n_programs` programs (P, 5) for `_score_gradients`, and each diagonal's first one.

    Both int32 on `device`. n_programs 0: one per tile, as `matrix` needs. Diagonal d holds the
    tiles (m, n) with d = m R / C - n.
    """
    ratio, n_rows, n_columns = rows // columns, -(-length // rows), -(-length // columns)
    diagonals = []
    for d in range(1 - ratio, ratio * (n_rows - 1) + 1):
        low, high = max(0, -(-d // ratio)), min(n_rows - 1, (n_columns - 1 + d) // ratio)
        diagonals.append([(m, ratio * m - d) for m in range(low, high + 1)])
    n_items = sum(len(tiles) for tiles in diagonals) * batch
    programs: list[tuple[int, ...]] = []
    starts = [0]
    for tiles in diagonals:
        if n_programs == 0:
            programs += [(m, n, 1, 0, batch) for m, n in tiles]
        else:
            items, piece = len(tiles) * batch, -(-n_items // n_programs)
            programs += [
                (*tiles[0], len(tiles), first, min(first + piece, items))
                for first in range(0, items, piece)
            ]
        starts.append(len(programs))
    with torch.inference_mode(False):  # kept for later calls, which may be of training
        first, second = (
            torch.tensor(x, dtype=torch.int32, device=device) for x in (programs, starts)
        )
        return first, second
