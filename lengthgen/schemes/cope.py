"""CoPE: contextual position encoding. Positions count what the query looks for, not tokens.

Source: Golovneva et al., "Contextual position encoding" (arXiv 2405.18719), the listing of appendix
B.
Formula: g_ij = sigmoid(q_i . k_j / sqrt(D)); p_ij = min(max_position - 1, sum over t = j .. i of
g_it), which counts key and query themselves; score(i, j) = q_i . k_j / sqrt(D) + q_i . e[p_ij].
Between whole positions e is interpolated: q_i . e[p] = (1 - r) q_i . e[floor p] + r q_i .
e[floor p + 1], r the fraction of p. e (max_position, D) is per layer, shared by heads, zero at the
start, as in the listing.

As in the listing, x-transformers and the DAPE repository, q . k is divided by sqrt(D), in the gate
too, and q . e is not.
At the start gates are about 0.5 and q . e is 0, so positions end after some 2 max_position tokens:
everything further is one position, the same in training and far past it. That is the tail policy
and why it extrapolates; it also cannot tell far tokens apart.
Cost: two gathers from (B, H, T, max_position) for each pair that is not yet past the last position;
no flash kernel.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes import counted_positions
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


@dataclass
class Config:
    # whole positions that have a vector; a query that counts further reads the last one
    max_position: int = 64

    def __post_init__(self):
        limit(self, "scheme", "> 1", "max_position")


class CoPE(Scheme):
    """table: (n_layers, max_position, D) float32."""

    Config = Config
    structure = "general"
    reads_text = False

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        self.table = nn.Parameter(
            torch.zeros(dimensions.n_layers, config.max_position, dimensions.head_dim)
        )

    @property
    def declaration(self) -> Declaration:
        last = self.config.max_position - 1
        return Declaration(
            paper="Golovneva et al., arXiv 2405.18719, appendix B",
            year=2024,
            acts_on="scores",
            sharing="a table of vectors per layer, the same for its heads",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"count {min(last, self.dimensions.train_length)} "
            "of what a query looks for",
            tail=f"clamp: a query that counts past {last} reads the last vector",
            oracles=("x-transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.table.zero_()

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        scores = super().logits(q, k, x, positions, layer, first)
        values = q @ self.table[layer].to(q.dtype).T  # (B, H, R, max_position)
        return counted_positions.read(scores, values, first)

    def counts(self, scores: Tensor, first: int) -> Tensor:
        """p_ij (B, H, R, S) from the scores of rows first..first+R-1; undefined where j > i."""
        counts = counted_positions.counts(scores, first, None)[1]
        return counts.clamp(max=self.config.max_position - 1)
