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
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes import from_the_right
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
        return _Counted.apply(scores, values, first)

    def counts(self, scores: Tensor, first: int) -> Tensor:
        """p_ij (B, H, R, S) from the scores of rows first..first+R-1; undefined where j > i."""
        return _counts(scores, first, None)[1].clamp(max=self.config.max_position - 1)


class _Counted(torch.autograd.Function):
    """Scores (B, H, R, S) of rows first..first+R-1 plus values (B, H, R, P) at counted positions.

    Once every row has counted to the last position, older keys read that one: no gates, no gather.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, values: Tensor, first: int) -> Tensor:
        steps = values.diff(dim=-1)
        out = torch.empty_like(scores)
        ctx.tiles, ctx.shape = [], values.shape
        newer, oldest = None, 0
        for keys in from_the_right.tiles(scores.shape[-1], scores.device):
            some = scores[..., keys]
            gates, places = _counts(some, first - keys.start, newer)
            newer, oldest = places[..., :1].clone(), keys.start
            below, share = _between(places, values.shape[-1])
            step = steps.gather(-1, below)
            out[..., keys] = values.gather(-1, below).addcmul_(share, step).add_(some)
            # Past the last position no gate counts.
            step.masked_fill_(share == 1, 0.0)
            ctx.tiles.append((keys, gates, below, share, step))
            if from_the_right.is_end(newer, values.shape[-1] - 1):
                break
        torch.add(scores[..., :oldest], values[..., -1:], out=out[..., :oldest])
        ctx.oldest = oldest
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        of_scores = grad.clone(memory_format=torch.contiguous_format)
        of_values = grad.new_zeros(ctx.shape)
        of_values[..., -1] = grad[..., : ctx.oldest].sum(-1)
        older = None
        # A gate counts for its own key and for all before it.
        for keys, gates, below, share, step in reversed(ctx.tiles):
            some = grad[..., keys]
            upper = share * some
            of_values.scatter_add_(-1, below, some - upper)
            of_values[..., 1:].scatter_add_(-1, below, upper)
            of_gates = step * some
            torch.cumsum(of_gates, -1, out=of_gates)
            if older is not None:
                of_gates += older
            older = of_gates[..., -1:].clone()
            of_scores[..., keys] += torch.ops.aten.sigmoid_backward(of_gates, gates)
        return of_scores, of_values, None


def _counts(scores: Tensor, diagonal: int, newer: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gates, 0 where a key is later, and p_ij before the clamp, both (B, H, R, W)."""
    # Gates of later keys are 0 before the sum runs from the right, or the future would leak.
    gates = scores.sigmoid().tril_(diagonal)
    return gates, from_the_right.summed_(gates, newer)


def _between(places: Tensor, n_positions: int) -> tuple[Tensor, Tensor]:
    """The whole position below each place, so that the next exists too, and the share of that."""
    places = places.clamp_(max=n_positions - 1)
    below = places.floor().clamp_(max=n_positions - 2)
    return below.long(), places.sub_(below)
