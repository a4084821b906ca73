"""DAPE's network on every pair of query and key, on CPU: products over columns that fit the cache.

A pair's channels are the scores and the biases of all heads. The first layer's share of the biases
is the same for every sequence, so that half of its product is made once for a batch. The hidden
units are not kept: the backward pass makes them again, tile by tile.

Shape letters: B sequences, H heads, N pairs, U hidden units, C pairs of a tile.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

PAIRS = 4096  # of a tile: its hidden units are 512 KiB with U = 32
SLOPE = 0.01  # of the LeakyReLU below zero


def adapted(
    scores: Tensor, bias: Tensor, hidden: tuple[Tensor, Tensor], out: tuple[Tensor, Tensor]
) -> Tensor:
    """scores (B, H, R, S) + bias (H, R, S) + the network of both.

    hidden: weight (U, 2H), its first H columns for the scores, and bias (U,); out: (H, U) and (H,).
    First derivatives only.
    """
    flat = _PairNetwork.apply(scores.flatten(2), bias.flatten(1), *hidden, *out)
    return flat.view_as(scores)


class _PairNetwork(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, bias: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
    ) -> Tensor:
        ctx.save_for_backward(scores, bias, w1, b1, w2)
        out = torch.empty_like(scores)
        for some, some_bias, units in _tiles(scores, bias, w1, b1):
            constant = some_bias + b2[:, None]
            for n, part in enumerate(units):
                sums = torch.addmm(constant, w2, part).add_(scores[n, :, some])
                out[n, :, some] = sums
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        scores, bias, w1, b1, w2 = ctx.saved_tensors
        n_heads = scores.shape[1]
        of_scores, of_bias = torch.empty_like(scores), grad.sum(0)
        of_w1, of_b1, of_w2 = (torch.zeros_like(x) for x in (w1, b1, w2))
        # Contiguous once: BLAS would copy a transposed view at every product.
        to_scores, to_bias = (part.t().contiguous() for part in w1.split(n_heads, dim=1))
        to_units = w2.t().contiguous()
        for some, some_bias, units in _tiles(scores, bias, w1, b1):
            total = torch.zeros(len(b1), some_bias.shape[1], dtype=grad.dtype)
            for n, part in enumerate(units):
                some_grad = grad[n, :, some]
                of_w2.addmm_(some_grad, part.t())
                of_units = torch.ops.aten.leaky_relu_backward(
                    to_units @ some_grad, part, SLOPE, True
                )
                of_w1[:, :n_heads].addmm_(of_units, scores[n, :, some].t())
                of_scores[n, :, some] = torch.addmm(some_grad, to_scores, of_units)
                total += of_units
            of_w1[:, n_heads:].addmm_(total, some_bias.t())
            of_b1 += total.sum(1)
            of_bias[:, some].addmm_(to_bias, total)
        return of_scores, of_bias, of_w1, of_b1, of_w2, grad.sum((0, 2))


def _tiles(
    scores: Tensor, bias: Tensor, w1: Tensor, b1: Tensor
) -> Iterator[tuple[slice, Tensor, Iterator[Tensor]]]:
    """For each tile: its pairs, their biases (H, C), and each sequence's hidden units (U, C)."""
    n_heads = scores.shape[1]
    for_scores, for_bias = w1[:, :n_heads].contiguous(), w1[:, n_heads:].contiguous()

    def units(some: slice, constant: Tensor) -> Iterator[Tensor]:
        for sequence in scores:
            yield F.leaky_relu_(torch.addmm(constant, for_scores, sequence[:, some]), SLOPE)

    for start in range(0, scores.shape[2], PAIRS):
        some = slice(start, start + PAIRS)
        some_bias = bias[:, some]
        yield some, some_bias, units(some, torch.addmm(b1[:, None], for_bias, some_bias))
