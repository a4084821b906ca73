"""Any function of query rows and the keys before them, by chunks of rows, made twice in training.

The forward pass keeps its inputs alone. The backward pass computes each chunk again, under
autograd, and differentiates it at once (Chen et al., 2016, arXiv:1604.06174), so that one chunk's
intermediate results live at a time. Key and value gradients are added in place: autograd through
slices would pad each of them with zeros.

Shape letters beside those of __init__.py: R rows of queries, S keys.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import get_gradient_edge

from lengthgen.attention.kernels.rows import spans
from lengthgen.attention.kernels.windows_and_sinks import visible

# Queries (B, H, R, D) from row `first` on, keys and values (B, H, S, D), S = first + R, and first
# -> (B, H, R, D).
RowsOf = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def attend(
    q: Tensor, k: Tensor, v: Tensor, rows: RowsOf, chunk: int, learned: Sequence[Tensor]
) -> Tensor:
    """q, k, v (B, H, T, D) -> (B, H, T, D). RuntimeError for second derivatives.

    learned: the tensors besides q, k, v that `rows` is made of and that a gradient may be wanted
    for. If it is made of others too, all rows are computed at once.
    """
    learned = [x for x in learned if x.requires_grad]
    if not _complete(q, k, v, rows, chunk, learned):
        return rows(q, k, v, 0)
    return _RowBlocks.apply(q, k, v, rows, chunk, *learned)


def _complete(
    q: Tensor, k: Tensor, v: Tensor, rows: RowsOf, chunk: int, learned: Sequence[Tensor]
) -> bool:
    """Whether `rows` has its gradients from q, k, v and `learned` alone: its graph says so.

    A scheme may hold a tensor that another hook made: its gradient would be lost.
    """
    q, k, v = (x[:, :, :chunk].detach().requires_grad_() for x in (q, k, v))
    seen = {_edge(x) for x in (q, k, v, *learned)}
    before = _edge(q * 1)[0]._sequence_nr()  # nodes made from here on have larger numbers
    waiting = [_edge(rows(q, k, v, 0))]
    while waiting:
        node, _ = edge = waiting.pop()
        if node is None or edge in seen:
            continue
        seen.add(edge)
        # A leaf has no functions before it.
        if not node.next_functions or node._sequence_nr() < before:
            return False
        waiting += node.next_functions
    return True


def _edge(x: Tensor) -> tuple[Any, int]:
    """Where a gradient of x goes in autograd's graph."""
    if not x.requires_grad:
        return None, 0
    edge = get_gradient_edge(x)
    return edge.node, edge.output_nr


def forward(q: Tensor, k: Tensor, v: Tensor, rows: RowsOf, chunk: int) -> Tensor:
    """The same without gradients."""
    # Made before the large temporaries: small parts among them would fragment the heap.
    out = v.new_empty(v.shape)
    for first, last in spans(q.shape[2], chunk):
        out[:, :, first:last] = rows(q[:, :, first:last], k[:, :, :last], v[:, :, :last], first)
    return out


def future_hidden(scores: Tensor, first: int) -> Tensor:
    """Scores (..., R, S) of rows first..first+R-1, -inf where a key is later than the query.

    Only the last R columns can hold such keys: a third of the time of a mask over all.
    """
    return _FutureHidden.apply(scores, first)


class _FutureHidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, first: int) -> Tensor:
        ctx.first = first
        hidden = scores.clone(memory_format=torch.contiguous_format)
        seen = visible(0, scores.shape[-2], None, scores.device)
        hidden[..., first:].masked_fill_(~seen, float("-inf"))
        return hidden

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return grad.tril(ctx.first), None


class _RowBlocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, rows: RowsOf, chunk: int, *learned: Tensor
    ) -> Tensor:
        ctx.save_for_backward(q, k, v)
        # As they are, not saved: `rows` holds these very tensors.
        ctx.rows, ctx.chunk, ctx.learned = rows, chunk, learned
        return forward(q, k, v, rows, chunk)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        q, k, v = ctx.saved_tensors
        dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))
        dlearned: list[Tensor | None] = [None] * len(ctx.learned)
        # From the last chunk to the first: the largest temporaries are made first.
        for first, last in reversed(spans(q.shape[2], ctx.chunk)):
            with torch.enable_grad():
                parts = [
                    x.detach().requires_grad_()
                    for x in (q[:, :, first:last], k[:, :, :last], v[:, :, :last])
                ]
                out = ctx.rows(*parts, first)
            some_q, some_k, some_v, *some_learned = torch.autograd.grad(
                out, [*parts, *ctx.learned], grad[:, :, first:last], allow_unused=True
            )
            del out
            totals = (dq[:, :, first:last], dk[:, :, :last], dv[:, :, :last])
            for total, part in zip(totals, (some_q, some_k, some_v), strict=True):
                if part is not None:
                    total += part
            dlearned = [
                part if total is None else total if part is None else total + part
                for total, part in zip(dlearned, some_learned, strict=True)
            ]
        return dq, dk, dv, None, None, *dlearned
