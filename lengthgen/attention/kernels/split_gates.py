"""Gates for kernels that compute in float32: every running sum as two numbers, sum = a + rest.

bias[b, h, i, j] = weights[b, h, i] ((row_i - key_j) + (row_rest_i - key_rest_j)). The first
difference is rounded once, by at most 2^-24 of itself, and the rests are what float32 lost of the
sums: so an error is 6e-8 of the bias itself, however far the sums have run. Where a bias is large,
its score has no weight left.

As in gates.py, the least sum so far stands in for a row's own where no span may hide it: in the
softmax it cancels, and scores stay small where sums rise.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Gates, Span


class SplitGates(NamedTuple):
    """All (B, H, T), contiguous, of one dtype, without gradients."""

    row: Tensor
    row_rest: Tensor
    key: Tensor
    key_rest: Tensor
    weights: Tensor | None

    def between(self, first: int, last: int) -> Tensor:
        """What the weights multiply, of queries first..last-1 and keys 0..last-1:

        (B, H, last - first, last).
        """
        rows, keys = (..., slice(first, last), None), (..., None, slice(0, last))
        return (self.row[rows] - self.key[keys]) + (self.row_rest[rows] - self.key_rest[keys])

    def block(self, first: int, last: int) -> Tensor:
        """The bias of queries first..last-1 against keys 0..last-1."""
        between = self.between(first, last)
        return between if self.weights is None else self.weights[..., first:last, None] * between


def split(gates: Gates, span: Span | None, dtype: torch.dtype) -> SplitGates:
    """dtype: of the parts, float32 or wider."""
    sums = gates.cumulative.detach().double()
    key, key_rest = _parts(sums, dtype)
    row, row_rest = key, key_rest
    if span is None:
        row, row_rest = _parts(sums.cummin(-1).values, dtype)
    weights = None if gates.weights is None else gates.weights.detach().to(dtype).contiguous()
    return SplitGates(row, row_rest, key, key_rest, weights)


def _parts(sums: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    near = sums.to(dtype)
    return near.contiguous(), (sums - near).to(dtype).contiguous()
