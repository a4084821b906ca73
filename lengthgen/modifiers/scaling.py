"""Scores multiplied by a factor for each query: shared by log_n (modifier and retrofit) and ssmax.

Formula, n_i the keys that query i sees, itself included, by `scales`:
  all     f(n_i) (q_i . k_j scale + bias(i, j))   whatever the softmax gets
  scores  f(n_i) q_i . k_j scale + bias(i, j)
  bias    q_i . k_j scale + f(n_i) bias(i, j)
Log-n scaling and SSMax are stated for scores without a bias, SSMax as a change of the softmax, and
BAM, which has a bias, multiplies both: `all` is the default. The sharpness of attention may lie in
the bias (T5's does), and a factor on q.k alone cannot restore it. Scores of structure general are
one piece: `all` and `scores` multiply the whole.
"""

import math
from typing import Any

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Gates, Rows
from lengthgen.attention.two_distances import TwoDistances
from lengthgen.config.dataclass_from import check
from lengthgen.modifiers.spans import n_visible
from lengthgen.schemes.base import Scheme, name_of
from lengthgen.schemes.wrapper import Wrapper

SCALES = ("all", "scores", "bias")  # what the factor multiplies


def log_n(n: Tensor, length: int) -> Tensor:
    """ln n / ln length, float32, of numbers of keys n (R,)."""
    return n.float().log() / math.log(length)


class Scaled(Wrapper):
    """A wrapper that multiplies scores, the bias or both by `factor`. ConfigError: no bias."""

    def __init__(self, config: Any, inner: Scheme):
        super().__init__(config, inner)
        check(
            config.scales != "bias" or inner.structure in ("toeplitz", "rows", "gates"),
            f"scales=bias of {name_of(type(self))}: the scheme adds no bias to its scores, "
            "expected scales=all",
        )

    @property
    def structure(self) -> str:
        structure = self.inner.structure
        return "rows" if self.scales_bias and structure == "toeplitz" else structure

    @property
    def scales_bias(self) -> bool:
        return self.config.scales != "scores"

    @property
    def shares_bias_over_layers(self) -> bool:
        return self.inner.shares_bias_over_layers and not self.scales_bias

    def factor(self, n: Tensor, layer: int) -> Tensor:
        """Factors (H or 1, R) float32 of queries that see n (R,) keys each."""
        raise NotImplementedError

    def steer(self, q: Tensor, k: Tensor, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        q, k = self.inner.steer(q, k, x, layer)
        return self._scaled_queries(q, layer, 0), k

    def _scaled_queries(self, q: Tensor, layer: int, first: int) -> Tensor:
        """q (B, H, R, D) of the tokens from `first` on, times their factors."""
        # A general scheme also uses q.k for other things (CoPE's gates), which must not be scaled:
        # `logits` multiplies its whole scores instead.
        if self.general(layer) or self.config.scales == "bias":
            return q
        # The factor goes into the queries, so that attention keeps its fast kernels.
        factor = self._factor(first, first + q.shape[2], layer, q.device)
        return (q.to(torch.promote_types(q.dtype, torch.float32)) * factor).to(q.dtype)

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        scores = self.inner.logits(q, k, x, positions, layer, first)
        return scores * self._factor(first, first + q.shape[2], layer, q.device)

    def gate_weights(self, x: Tensor, layer: int) -> Tensor | None:
        return self._scaled_weights(self.inner.gate_weights(x, layer), x, layer, 0)

    def _scaled_weights(
        self, weights: Tensor | None, x: Tensor, layer: int, first: int
    ) -> Tensor | None:
        """Weights of gates (B, H, R) or None of the tokens from `first` on, times their factors."""
        if not self.scales_bias:
            return weights
        B, R, _ = x.shape
        factor = self._factor(first, first + R, layer, x.device)[..., 0]
        factor = factor.expand(B, self.dimensions.n_heads, -1)
        return factor if weights is None else weights * factor

    @property
    def reads_text(self) -> bool:
        return self.inner.reads_text

    def steer_from(
        self, q: Tensor, k: Tensor, x: Tensor, layer: int, first: int
    ) -> tuple[Tensor, Tensor]:
        q, k = self.inner.steer_from(q, k, x, layer, first)
        return self._scaled_queries(q, layer, first), k

    def gates_from(self, x: Tensor, layer: int, first: int) -> tuple[Tensor | None, Tensor | None]:
        gates, weights = self.inner.gates_from(x, layer, first)
        if gates is None:
            return None, None
        return gates, self._scaled_weights(weights, x, layer, first)

    def two_distances(
        self, q: Tensor, k: Tensor, positions: Tensor, layer: int, first: int
    ) -> TwoDistances | None:
        pairs = self.inner.two_distances(q, k, positions, layer, first)
        factor = self._factor(first, first + q.shape[2], layer, q.device)
        return None if pairs is None else pairs.times(factor)

    def biases(self, positions: Tensor) -> list[Bias | None]:
        biases = self.inner.biases(positions)
        if not self.scales_bias:
            return biases
        return [self._scaled(bias, layer) for layer, bias in enumerate(biases)]

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
