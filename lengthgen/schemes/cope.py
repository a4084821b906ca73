"""CoPE: contextual position encoding. A position counts not tokens but what the query looks for among them.

Source: Golovneva, Wang, Weston, Sukhbaatar, "Contextual position encoding: learning to count what's important" (arXiv 2405.18719),
the listing of appendix B.
Formula: g_ij = sigmoid(q_i . k_j / sqrt(D)); p_ij = min(max_position - 1, sum over t = j .. i of g_it);
score(i, j) = q_i . k_j / sqrt(D) + q_i . e[p_ij], where e between whole positions is interpolated linearly:
q_i . e[p] = (1 - r) q_i . e[floor p] + r q_i . e[floor p + 1], r the fraction of p.
e (max_position, D) for each layer, shared by its heads, zero at the start, as in the listing.

1/sqrt(D) is where the listing has it: on q . k, and so in the gate, but not on q . e; x-transformers and the DAPE repository alike.
The sum counts the key itself and the query itself.
Traps: (1) gates of later keys must be 0 before the sum runs from the right, else the future leaks. (2) At the start gates are about 0.5
and q . e is 0, so positions end after some 2 * max_position tokens: everything further is one position, the same one in training and far
past it. That is the tail policy, and why it extrapolates; it also cannot tell far tokens apart.
Cost: two tensors of (B, H, T, T) gathered from (B, H, T, max_position) besides the scores; no flash kernel.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
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

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        self.table = nn.Parameter(
            torch.zeros(dimensions.n_layers, config.max_position, dimensions.head_dim)
        )

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Golovneva et al., arXiv 2405.18719, appendix B",
            year=2024,
            acts_on="scores",
            structure="general",
            sharing="a table of vectors per layer, the same for its heads",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"count {min(self.config.max_position - 1, self.dimensions.train_length)} of what a query looks for",
            tail=f"clamp: a query that counts past {self.config.max_position - 1} reads the last vector",
            oracles=("x-transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.table.zero_()

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        scores = super().logits(q, k, x, positions, layer, first)
        places = self.counts(scores, first)
        # its neighbour above exists
        below = places.detach().floor().clamp(max=self.config.max_position - 2)
        share = places - below
        values = q @ self.table[layer].to(q.dtype).T  # (B, H, R, max_position)
        index = below.long()
        return (
            scores + values.gather(-1, index) * (1 - share) + values.gather(-1, index + 1) * share
        )

    def counts(self, scores: Tensor, first: int) -> Tensor:
        """Positions p_ij (B, H, R, S) of scores whose rows are first..first+R-1; rubbish where j > i."""
        gates = scores.sigmoid().tril(first)
        return gates.flip(-1).cumsum(-1).flip(-1).clamp(max=self.config.max_position - 1)
