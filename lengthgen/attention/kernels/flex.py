"""torch's FlexAttention on CUDA: a compiled kernel that reads the bias where it needs it, so that no (T, T) mask exists.

The bias enters detached: one load per score, which H100 measurements put next to no bias at all (pytorch #138493), while a captured
tensor with a gradient costs one atomic addition per score and shuts out other backends. Its gradient comes from bias_tap.py.

One compiled callable per form of bias and length, with a code object of its own: torch counts recompilations by code object and, past
a limit of 8, would run the eager form, which makes every score; here that is an error.

Shape letters: B batch, H heads, T queries = keys, D head size.
"""

import types
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import bias_tap, offsets, windows_and_sinks

BLOCK = 128  # FlexAttention's own
RECOMPILATIONS = (
    64  # allowed to each callable: batch sizes, dtypes, layouts, with and without gradients
)


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, span: Span | None = None
) -> Tensor:
    """q, k, v (B, H, T, D) of one dtype, on CUDA -> (B, H, T, D).

    bias: None, a vector (H, T) by offset, or a matrix (H, T, T) whose entries outside `span` and above the diagonal are ignored; float32.
    A vector that learns beside sinks is made a matrix, because what a query does not see is then no function of the offset.
    """
    learns = bias is not None and bias.requires_grad and torch.is_grad_enabled()
    if learns and span is not None:
        bias = _cut(bias, span)
    out, lse = forward(q, k, v, None if bias is None else bias.detach().contiguous(), scale, span)
    return bias_tap.tap(out, bias, q, k, v, lse, scale) if learns else out


def _cut(bias: Tensor, span: Span) -> Tensor:
    """The bias with -inf where a query does not see a key, for the tap, which knows no spans. Differentiable."""
    length = bias.shape[-1]
    if bias.ndim == 2 and span.sinks == 0:
        return bias.masked_fill(
            torch.arange(length, device=bias.device) >= span.window, float("-inf")
        )
    matrix = offsets.dense(bias) if bias.ndim == 2 else bias
    return matrix.masked_fill(~windows_and_sinks.seen(0, length, span, bias.device), float("-inf"))


def forward(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, span: Span | None = None
) -> tuple[Tensor, Tensor]:
    """The output (B, H, T, D) and the natural log-sum-exp (B, H, T); gradients reach q, k, v only."""
    form = unbiased if bias is None else by_offset if bias.ndim == 2 else by_position
    mask = visible_blocks(q.shape[2], span, q.device)
    if torch.compiler.is_compiling():  # inside a compiled model: part of its graph
        return form(q, k, v, bias, mask, scale)
    with torch._dynamo.config.patch(recompile_limit=RECOMPILATIONS):
        return compiled(form, q.shape[2], span)(q, k, v, bias, mask, scale)


def unbiased(
    q: Tensor, k: Tensor, v: Tensor, bias: None, mask: BlockMask, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention without a bias."""
    return _flex(q, k, v, None, mask, scale)


def by_offset(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: BlockMask, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention with a vector (H, T). Masked scores may read it at i - j < 0, which counts from its end: inside, and without effect."""

    def biased(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + bias[h, i - j]

    return _flex(q, k, v, biased, mask, scale)


def by_position(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: BlockMask, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention with a matrix (H, T, T)."""

    def biased(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + bias[h, i, j]

    return _flex(q, k, v, biased, mask, scale)


def _flex(
    q: Tensor, k: Tensor, v: Tensor, score: Callable | None, mask: BlockMask, scale: float
) -> tuple[Tensor, Tensor]:
    out, aux = flex_attention(
        q, k, v, score_mod=score, block_mask=mask, scale=scale, return_aux=AuxRequest(lse=True)
    )
    return out, aux.lse


@cache
def compiled(form: Callable, length: int, span: Span | None = None) -> Callable:
    """`form`, compiled for one length and span; RuntimeError where torch would run it uncompiled."""

    def compiled_form(
        q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, mask: BlockMask, scale: float
    ) -> tuple[Tensor, Tensor]:
        if not torch.compiler.is_compiling():
            raise RuntimeError(
                "FlexAttention would run uncompiled and make every score: is torch.compile switched off?"
            )
        return form(q, k, v, bias, mask, scale)

    code = compiled_form.__code__.replace(co_name=f"{form.__name__}_{length}")
    own = types.FunctionType(
        code, compiled_form.__globals__, code.co_name, None, compiled_form.__closure__
    )
    return torch.compile(own, dynamic=False, fullgraph=True)


def visible_blocks(length: int, span: Span | None, device: torch.device) -> BlockMask:
    """The block mask, the same for every sequence and head; made once, but inside a compiled model part of its graph."""
    return (
        _made(length, span, device)
        if torch.compiler.is_compiling()
        else _kept(length, span, device)
    )


@cache
def _kept(length: int, span: Span | None, device: torch.device) -> BlockMask:
    with torch.inference_mode(False):  # kept for later calls, which may be of training
        return _made(length, span, device)


def _made(length: int, span: Span | None, device: torch.device) -> BlockMask:
    return _causal_blocks(length, device) if span is None else _spanned_blocks(length, span, device)


def _causal(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return i >= j


def _spanned_blocks(length: int, span: Span, device: torch.device) -> BlockMask:
    """A block is partial or full as its nearest and its farthest pair of query and key are visible or not: no T x T entries either."""
    n = -(-length // BLOCK)
    start = BLOCK * torch.arange(n, device=device)
    row, column, end = start[:, None], start[None, :], (start + BLOCK).clamp(max=length)
    some = (column <= row) & ((row - (column + BLOCK - 1) < span.window) | (column < span.sinks))
    full = (column + BLOCK - 1 <= row) & (
        ((end - 1)[:, None] - column < span.window) | (column + BLOCK <= span.sinks)
    )
    full &= (end - start == BLOCK)[
        :, None
    ]  # a last row of blocks that the window does not fill is all partial

    def seen(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return (i >= j) & ((i - j < span.window) | (j < span.sinks))

    return BlockMask.from_kv_blocks(
        *_listed(some & ~full),
        *_listed(full),
        BLOCK_SIZE=(BLOCK, BLOCK),
        mask_mod=seen,
        seq_lengths=(length, length),
    )


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(n, n) bool -> how many of each row, and which, those first; (1, 1, n) and (1, 1, n, n) int32."""
    order = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1).to(torch.int32)[None, None], order.to(torch.int32)[
        None, None
    ].contiguous()


def _causal_blocks(length: int, device: torch.device) -> BlockMask:
    """Written down directly: create_block_mask makes all T x T entries, which at 65,536 tokens is gigabytes.

    Blocks on the diagonal are partial, blocks below it full; in a last row of blocks that the window does not fill all are partial.
    """
    n, ragged = -(-length // BLOCK), length % BLOCK != 0
    here = torch.arange(n, dtype=torch.int32, device=device)
    row, column, one = here[:, None], here[None, :], torch.ones_like(here)
    follows = (row + column) % n  # row i: i, i + 1, ...
    cut = ragged & (row == n - 1)  # the row of blocks that the window does not fill
    last = ragged & (row < n - 1) & (column == 1)  # second in each column's list: that row
    tables = {
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
