"""Shaw et al.'s relative positions: a learned vector per offset is added to every key, and one to every value; far offsets share one.

Source: Shaw, Uszkoreit, Vaswani, "Self-attention with relative position representations" (NAACL 2018), equations 3 to 5;
tensor2tensor, layers/common_attention.py:dot_product_attention_relative.
Formula: n = min(i - j, clip); score(i, j) = q_i . (k_j + a^K[n]) / sqrt(D); output_i = sum over j of w_ij (v_j + a^V[n]).
Unlike other relative biases the term is divided by sqrt(D). a^K and a^V (clip + 1, D) belong to a layer and serve all its heads.

clip = 16 is the paper's for its base model (8 for the big one; from 2 to 256 it finds hardly a difference, on sentences). Both tables
have 2 clip + 1 rows there, for keys on both sides; a causal model reads clip + 1, so no more are here. They start as there: Glorot's
uniform distribution over (2 clip + 1, D). values=false is the key side alone: the paper's ablation finds it enough, on translation.

The score depends on the query too, so no bias of positions alone can say it: this costs a matrix (B, H, T, T), no flash kernel.
Traps: x_ij in the paper is indexed by j - i, here by i - j; what is clipped is the offset, and keys past it still count.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes import relative_shift
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


@dataclass
class Config:
    clip: int = 16  # k: offsets from k on share one vector
    values: bool = True  # also add vectors to the values, as the paper does

    def __post_init__(self):
        limit(self, "scheme", "> 0", "clip")


class Shaw(Scheme):
    """key_table and, with values, value_table: (n_layers, clip + 1, D) float32."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        for name in self.tables:
            setattr(
                self,
                name,
                nn.Parameter(
                    torch.zeros(dimensions.n_layers, config.clip + 1, dimensions.head_dim)
                ),
            )

    @property
    def tables(self) -> tuple[str, ...]:
        return ("key_table", "value_table") if self.config.values else ("key_table",)

    @property
    def declaration(self) -> Declaration:
        reach, clip = self.dimensions.train_length - 1, self.config.clip
        return Declaration(
            paper="Shaw, Uszkoreit, Vaswani, NAACL 2018, eq. 3 to 5",
            year=2018,
            acts_on="scores",
            structure="general",
            sharing=f"{' and '.join(self.tables).replace('_table', 's')}: a table of vectors per layer, the same for its heads",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {reach}; those from {clip} on share one vector",
            tail="clamp: one vector for all far offsets"
            + ("" if clip <= reach else ", which NO training offset reaches"),
            oracles=("transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        bound = (6 / (2 * self.config.clip + 1 + self.dimensions.head_dim)) ** 0.5
        for name in self.tables:
            getattr(self, name).uniform_(-bound, bound, generator=generator_for(name))

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        table = self.key_table[layer, : k.shape[2]].to(q.dtype)
        by_content = super().logits(q, k, x, positions, layer, first)
        return by_content + relative_shift.by_key(q @ table.T, k.shape[2]) * self.score_scale

    def mix(self, logits: Tensor, v: Tensor, layer: int, first: int) -> Tensor:
        weights = logits.softmax(-1)
        if not self.config.values:
            return weights @ v
        return weights @ v + summed(weights, first, self.config.clip) @ self.value_table[layer].to(
            v.dtype
        )


def summed(weights: Tensor, first: int, clip: int) -> Tensor:
    """Weights (B, H, R, S) of rows first..first+R-1, summed by offset, those from `clip` on together: (B, H, R, clip + 1)."""
    rows, keys = weights.shape[-2:]
    places = torch.arange(keys, device=weights.device)
    # a later key has no weight
    offsets = (places[first:, None] - places).clamp(0, clip).expand_as(weights)
    return weights.new_zeros(*weights.shape[:-2], rows, clip + 1).scatter_add(-1, offsets, weights)
