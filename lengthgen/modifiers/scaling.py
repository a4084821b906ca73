"""Scores multiplied by a factor of the query's row: what log_n and ssmax share, as modifiers and as a retrofit.

Formula: score(i, j) = f(n_i) q_i . k_j scale + bias(i, j), n_i the number of keys that query i sees, itself included.
The factor goes into the queries, last of all and in float32, so attention keeps its fast kernels. Whether the positional bias is
multiplied as well (`scale_bias`) is a choice on which papers differ: log-n scaling and SSMax are stated for scores without a bias; BAM
multiplies both.
A scheme whose scores are its own function of q.k (structure "general") is multiplied whole, bias or not: what its q.k are used for
besides (CoPE's gates) must not be scaled.

Shape letters: B batch, T positions in the window, R rows of queries, S keys, H heads, D head size.
"""

import dataclasses

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Gates, Rows
from lengthgen.modifiers.spans import n_visible
from lengthgen.schemes.base import Declaration
from lengthgen.schemes.wrapper import Wrapper


class Scaled(Wrapper):
    """A wrapper that says its `factor`."""

    @property
    def declaration(self) -> Declaration:
        declared = super().declaration
        by_row = self.config.scale_bias and declared.structure == "toeplitz"
        return dataclasses.replace(declared, structure="rows") if by_row else declared

    @property
    def shares_bias_over_layers(self) -> bool:
        return super().shares_bias_over_layers and not self.config.scale_bias

    def factor(self, n: Tensor, layer: int) -> Tensor:
        """Factors (H or 1, R) float32 of queries that see n (R,) keys each."""
        raise NotImplementedError

    def steer(self, q: Tensor, k: Tensor, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        q, k = self.inner.steer(q, k, x, layer)
        if self.general(layer):
            return q, k
        factor = self._factor(0, q.shape[2], layer, q.device)
        return (q.to(torch.promote_types(q.dtype, torch.float32)) * factor).to(q.dtype), k

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        return self.inner.logits(q, k, x, positions, layer, first) * self._factor(
            first, first + q.shape[2], layer, q.device
        )

    def gate_weights(self, x: Tensor, layer: int) -> Tensor | None:
        weights = self.inner.gate_weights(x, layer)
        if not self.config.scale_bias:
            return weights
        factor = self._factor(0, x.shape[1], layer, x.device)[..., 0].expand(
            x.shape[0], self.dimensions.n_heads, -1
        )
        return factor if weights is None else weights * factor

    def biases(self, positions: Tensor) -> list[Bias | None]:
        biases = self.inner.biases(positions)
        return (
            [self._scaled(bias, layer) for layer, bias in enumerate(biases)]
            if self.config.scale_bias
            else biases
        )

    def _factor(self, first: int, last: int, layer: int, device: torch.device) -> Tensor:
        """(H or 1, R, 1) of queries first..last-1."""
        return self.factor(n_visible(first, last, self.span(layer), device), layer)[..., None]

    def _scaled(self, bias: Bias | None, layer: int) -> Bias | None:
        if bias is None or isinstance(bias, Gates):
            return None

        def block(first: int, last: int) -> Tensor:
            rows = bias.block(first, last)
            return rows * self._factor(first, last, layer, rows.device)

        return Rows(block)
