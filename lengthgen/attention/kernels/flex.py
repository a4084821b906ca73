"""torch's FlexAttention on CUDA: a compiled kernel that reads the bias in place, so that no (T, T)
mask exists.

The bias enters detached: one load per score, which H100 measurements put next to no bias at all
(pytorch #138493), while a captured tensor with a gradient costs one atomic addition per score and
excludes other backends. Gates cost a few loads per row and per key. The gradient of either comes
from bias_tap.py.

One compiled callable per form of bias and length, each with its own code object: torch counts
recompilations by code object and, past a limit of 8, would run the eager form, which makes every
score. Here that is an error.
"""

import types
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from lengthgen.attention.bias_forms import Gates, Span
from lengthgen.attention.kernels import bias_tap, offsets
from lengthgen.attention.kernels.flex_tiles import options_of
from lengthgen.attention.kernels.split_gates import SplitGates, split
from lengthgen.attention.kernels.windows_and_sinks import hide

BLOCK = 128  # FlexAttention's block size
# Allowed to each callable: batch sizes, dtypes, layouts, with and without gradients.
RECOMPILATIONS = 64

Attention = Callable[..., tuple[Tensor, Tensor]]
Score = Callable[..., Tensor]  # of score, sequence, head, query, key
Constant = Tensor | SplitGates | None  # a bias as the kernel reads it, without a gradient


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | Gates | None,
    scale: float,
    span: Span | None = None,
) -> Tensor:
    """q, k, v (B, H, T, D) of one dtype, on CUDA -> (B, H, T, D).

    bias: None, gates or, in float32, a vector (H, T) by offset, or a matrix (H, T, T) whose entries
    outside `span` and above the diagonal are ignored.
    """
    if bias is None:
        return forward(q, k, v, None, scale, span)[0]
    if isinstance(bias, Gates):
        parts = split(bias, span, torch.promote_types(q.dtype, torch.float32))
        out, lse = forward(q, k, v, parts, scale, span)
        return bias_tap.gate_tap(out, bias, parts, q, k, v, lse, scale, span)
    learns = bias.requires_grad and torch.is_grad_enabled()
    if learns and span is not None:
        bias = _cut(bias, span)
    out, lse = forward(q, k, v, bias.detach().contiguous(), scale, span)
    return bias_tap.tap(out, bias, q, k, v, lse, scale) if learns else out


def _cut(bias: Tensor, span: Span) -> Tensor:
    """-inf where a query does not see a key, for the tap, which knows no spans. Differentiable.

    Beside sinks a vector becomes a matrix: what a query sees is then no function of the offset.
    """
    length = bias.shape[-1]
    if bias.ndim == 2 and span.sinks == 0:
        offset = torch.arange(length, device=bias.device)
        return bias.masked_fill(offset >= _window(span, length), float("-inf"))
    matrix = offsets.dense(bias) if bias.ndim == 2 else bias
    return hide(matrix, 0, length, span)


def _window(span: Span, length: int) -> int:
    return length if span.window is None else span.window


def forward(
    q: Tensor, k: Tensor, v: Tensor, bias: Constant, scale: float, span: Span | None = None
) -> tuple[Tensor, Tensor]:
    """The output (B, H, T, D) and the natural log-sum-exp (B, H, T).

    Gradients reach only q, k, v.
    """
    mask = visible_blocks(q.shape[2], span, q.device)
    if torch.compiler.is_compiling():  # inside a compiled model: part of its graph
        return attention(q, k, v, bias, mask, scale)
    with torch._dynamo.config.patch(recompile_limit=RECOMPILATIONS):
        return compiled(_form(bias), q.shape[2], span)(q, k, v, bias, mask, scale)


def attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Constant, mask: BlockMask, scale: float
) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp, without a bias, with a vector (H, T), a matrix (H, T, T) or gates."""
    score = None if bias is None else SCORES[_form(bias)](bias)
    out, aux = flex_attention(
        q,
        k,
        v,
        score_mod=score,
        block_mask=mask,
        scale=scale,
        return_aux=AuxRequest(lse=True),
        kernel_options=options_of(bias is not None, q.dtype, q.shape[-1]),
    )
    return out, aux.lse  # type: ignore[return-value]  # it was asked for


def _by_offset(bias: Tensor) -> Score:
    """Masked scores read i - j < 0, which counts from the end: inside, and without effect."""
    return lambda score, b, h, i, j: score + bias[h, i - j]


def _by_position(bias: Tensor) -> Score:
    return lambda score, b, h, i, j: score + bias[h, i, j]


def _by_sums(gates: SplitGates) -> Score:
    row, row_rest, key, key_rest, weights = gates

    def between(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        # In this order: see split_gates.py.
        return (row[b, h, i] - key[b, h, j]) + (row_rest[b, h, i] - key_rest[b, h, j])

    if weights is None:
        return lambda score, b, h, i, j: score + between(b, h, i, j)
    return lambda score, b, h, i, j: score + weights[b, h, i] * between(b, h, i, j)


SCORES: dict[str, Callable[[Any], Score]] = {
    "vector": _by_offset,
    "matrix": _by_position,
    "gates": _by_sums,
}


def _form(bias: Constant) -> str:
    """none, or one of SCORES."""
    if bias is None:
        return "none"
    if isinstance(bias, SplitGates):
        return "gates"
    return "vector" if bias.ndim == 2 else "matrix"


@cache
def compiled(form: str, length: int, span: Span | None = None) -> Attention:
    """`attention`, compiled for one form of bias (none or one of SCORES), length and span.

    RuntimeError if torch would run it uncompiled.
    """

    def compiled_attention(*arguments: Any) -> tuple[Tensor, Tensor]:
        if not torch.compiler.is_compiling():
            raise RuntimeError(
                "FlexAttention would run uncompiled and make every score: "
                "is torch.compile switched off?"
            )
        return attention(*arguments)

    # One code object for every call: each gets a copy.
    code = compiled_attention.__code__.replace(co_name=f"flex_{form}_{length}")
    copy = types.FunctionType(code, compiled_attention.__globals__, code.co_name)
    return torch.compile(copy, dynamic=False, fullgraph=True)


def visible_blocks(length: int, span: Span | None, device: torch.device) -> BlockMask:
    """The block mask of all sequences and heads; kept, except inside a compiled model."""
    make = _made if torch.compiler.is_compiling() else _kept
    return make(length, span, device)


@cache
def _kept(length: int, span: Span | None, device: torch.device) -> BlockMask:
    # Kept for later calls, which may train: no inference tensors.
    with torch.inference_mode(False):
        return _made(length, span, device)


def _made(length: int, span: Span | None, device: torch.device) -> BlockMask:
    return _causal_blocks(length, device) if span is None else _spanned_blocks(length, span, device)


def _causal(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return i >= j


def _spanned_blocks(length: int, span: Span, device: torch.device) -> BlockMask:
    """Without T x T entries too: a block is partial or full as its nearest and its farthest pair of
    query and key are visible or not."""
    n, window, sinks = -(-length // BLOCK), _window(span, length), span.sinks
    start = BLOCK * torch.arange(n, device=device)
    row, column, end = start[:, None], start[None, :], (start + BLOCK).clamp(max=length)
    some = (column <= row) & ((row - (column + BLOCK - 1) < window) | (column < sinks))
    full = ((end - 1)[:, None] - column < window) | (column + BLOCK <= sinks)
    full &= column + BLOCK - 1 <= row
    # A last row of blocks that the window does not fill is all partial.
    full &= (end - start == BLOCK)[:, None]

    def seen(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return (i >= j) & ((i - j < window) | (j < sinks))

    sizes: dict[str, Any] = {"BLOCK_SIZE": (BLOCK, BLOCK), "seq_lengths": (length, length)}
    return BlockMask.from_kv_blocks(*_listed(some & ~full), *_listed(full), mask_mod=seen, **sizes)


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(n, n) bool -> how many in each row (1, 1, n), and which, those first (1, 1, n, n); int32."""
    order = blocks.int().argsort(dim=-1, descending=True, stable=True)
    counts, order = (x.to(torch.int32)[None, None] for x in (blocks.sum(-1), order))
    return counts, order.contiguous()


def _causal_blocks(length: int, device: torch.device) -> BlockMask:
    """Written down directly: create_block_mask makes all T x T entries, gigabytes at 65,536 tokens.

    Blocks on the diagonal are partial, blocks below it full; in a last row of blocks that the
    window does not fill all are partial.
    """
    n, ragged = -(-length // BLOCK), length % BLOCK != 0
    here = torch.arange(n, dtype=torch.int32, device=device)
    row, column, one = here[:, None], here[None, :], torch.ones_like(here)
    follows = (row + column) % n  # row i: i, i + 1, ...
    cut = ragged & (row == n - 1)  # the row of blocks that the window does not fill
    last = ragged & (row < n - 1) & (column == 1)  # second in each column's list: that row
    tables: dict[str, Any] = {
        "kv_num_blocks": torch.where(cut[:, 0], n, one),
        "kv_indices": torch.where(cut, column, follows),
        "full_kv_num_blocks": torch.where(cut[:, 0], 0, here),
        "full_kv_indices": column.expand(n, n),
        "q_num_blocks": one + (ragged & (here < n - 1)),
        "q_indices": torch.where(last, n - 1, follows),
        "full_q_num_blocks": (n - 1 - int(ragged) - here).clamp(min=0),
        "full_q_indices": (follows + 1) % n,
    }
    tables = {
        name: table.to(torch.int32)[None, None].contiguous() for name, table in tables.items()
    }
    return BlockMask(
        seq_lengths=(length, length), BLOCK_SIZE=(BLOCK, BLOCK), mask_mod=_causal, **tables
    )
