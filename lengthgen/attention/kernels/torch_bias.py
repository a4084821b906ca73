"""The gradient of a score bias in plain torch, by chunks of query rows: where Triton cannot run.

The same formulas as triton_bias.py, on any device and dtype (float64 stays float64, the rest is
computed in float32); memory O(B H C T).

Shape letters beside those of __init__.py: C query rows of a chunk.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels.masks import MatrixRows, VectorRows
from lengthgen.attention.kernels.offsets import OffsetGradient
from lengthgen.attention.kernels.rows import spans
from lengthgen.attention.kernels.split_gates import SplitGates
from lengthgen.attention.kernels.windows_and_sinks import hide

SCORES_AT_ONCE = 2**26  # elements of one chunk of scores (256 MiB in float32)


def vector_gradient(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor, vector: Tensor,
    scale: float, *, ordered: bool = True,
) -> Tensor:  # fmt: skip
    """Gradient (H, T) of a bias vector (H, T) by offset; arguments as in triton_bias.

    Always deterministic, whatever `ordered`.
    """
    chunk, dtype = _chunk_of(q), _wide(q)
    masks = VectorRows(vector.to(dtype), chunk)
    width = chunk - 1 + q.shape[2]
    sums = OffsetGradient(torch.empty(q.shape[1], width, dtype=dtype, device=q.device), chunk)
    for first, last, scores in _score_gradients(q, k, v, out, lse, grad, masks, scale, chunk):
        # It wants the newest key first, and a batch.
        sums.add(slice(None), first, last, scores.sum(0).flip(-1)[None])
    # torch.compile expects no view.
    return sums.result()[0].clone(memory_format=torch.contiguous_format)


def matrix_gradient(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor, matrix: Tensor,
    scale: float,
) -> Tensor:  # fmt: skip
    """Gradient (H, T, T) of a bias matrix (H, T, T); zero above the diagonal."""
    chunk = _chunk_of(q)
    gradient = torch.zeros(matrix.shape, dtype=_wide(q), device=q.device)
    masks = MatrixRows(lambda first, last: matrix[:, first:last, :last].to(gradient.dtype))
    for first, last, scores in _score_gradients(q, k, v, out, lse, grad, masks, scale, chunk):
        gradient[:, first:last, :last] = scores.sum(0)
    return gradient


def gate_gradients(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor, gates: SplitGates,
    scale: float, span: Span,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Gradients (B, H, T) of running sums and of weights (empty without weights)."""
    dtype, weights = _wide(q), gates.weights
    sums = torch.zeros(q.shape[:3], dtype=dtype, device=q.device)
    of_weights = sums.new_zeros(0) if weights is None else torch.zeros_like(sums)
    masks = GateMasks(gates, span)
    for first, last, scores in _score_gradients(
        q, k, v, out, lse, grad, masks, scale, _chunk_of(q)
    ):
        rows = (..., slice(first, last))
        if weights is not None:
            of_weights[rows] = (scores * gates.between(first, last)).sum(-1)
            scores = scores * weights[rows][..., None]
        sums[rows] += scores.sum(-1)
        sums[..., :last] -= scores.sum(-2)
    return sums, of_weights


class GateMasks(NamedTuple):
    """The biases of a chunk of query rows, -inf where a row does not see a key."""

    gates: SplitGates
    span: Span

    def mask(self, first: int, last: int) -> Tensor:
        """(B, H, last - first, last)"""
        return hide(self.gates.block(first, last), first, last, self.span)


def _chunk_of(q: Tensor) -> int:
    batch, n_heads, length, _ = q.shape
    return max(1, min(128, length, SCORES_AT_ONCE // (batch * n_heads * length)))


def _wide(q: Tensor) -> torch.dtype:
    return torch.promote_types(q.dtype, torch.float32)


def _score_gradients(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad: Tensor,
    masks: VectorRows | MatrixRows | GateMasks, scale: float, chunk: int,
) -> Iterator[tuple[int, int, Tensor]]:  # fmt: skip
    """(first, last, gradient (B, H, last - first, last) of the scores)."""
    q, k, v, out, grad = (x.to(_wide(q)) for x in (q, k, v, out, grad))
    # The row sums of P * dP, without P: sum over d of dO * O.
    delta = (grad * out).sum(-1, keepdim=True)
    for first, last in spans(q.shape[2], chunk):
        rows, keys = slice(first, last), slice(0, last)
        scores = scale * (q[:, :, rows] @ k[:, :, keys].transpose(-2, -1)) + masks.mask(first, last)
        weights = torch.exp(scores - lse[:, :, rows, None])
        dscores = weights * (grad[:, :, rows] @ v[:, :, keys].transpose(-2, -1) - delta[:, :, rows])
        yield first, last, dscores
