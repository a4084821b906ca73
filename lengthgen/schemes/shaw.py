"""Shaw et al.'s relative positions: a learned vector per offset is added to keys and to values.

Source: Shaw, Uszkoreit, Vaswani, "Self-attention with relative position representations" (NAACL
2018), equations 3 to 5; tensor2tensor, layers/common_attention.py:dot_product_attention_relative.
Formula: n = min(i - j, clip); score(i, j) = q_i . (k_j + a^K[n]) / sqrt(D); output_i = sum over j
of w_ij (v_j + a^V[n]). Unlike other relative biases the term is divided by sqrt(D). a^K and a^V
(clip + 1, D) are per layer and serve all its heads. (The paper indexes by j - i.)

clip = 16 is the paper's for its base model (8 for the big one; from 2 to 256 it finds hardly a
difference, on sentences). Its tables have 2 clip + 1 rows, for both sides; a causal model reads
clip + 1. They start as there, Glorot uniform over (2 clip + 1, D). values=false is the key side
alone, which the paper's ablation finds enough, on translation.
No scale_bias: the vectors act by a product with the query, which grows as they do, and the term is
part of the scaled score.
The score depends on the query, so it is no bias of positions: no flash kernel, blocks of rows.
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
    structure = "general"
    reads_text = False

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        shape = (dimensions.n_layers, config.clip + 1, dimensions.head_dim)
        self.key_table = nn.Parameter(torch.zeros(shape))
        if config.values:
            self.value_table = nn.Parameter(torch.zeros(shape))

    @property
    def declaration(self) -> Declaration:
        reach, clip = self.dimensions.train_length - 1, self.config.clip
        sides = "keys and values" if self.config.values else "keys"
        return Declaration(
            paper="Shaw, Uszkoreit, Vaswani, NAACL 2018, eq. 3 to 5",
            year=2018,
            acts_on="scores",
            sharing=f"{sides}: a table of vectors per layer, the same for its heads",
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
        for name, table in self.named_parameters():
            table.uniform_(-bound, bound, generator=generator_for(name))

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
        by_offset = summed(weights, first, self.config.clip)
        return weights @ v + by_offset @ self.value_table[layer].to(v.dtype)


def summed(weights: Tensor, first: int, clip: int) -> Tensor:
    """(B, H, R, clip + 1): weights (B, H, R, S) of rows first..first+R-1 summed by offset."""
    rows, keys = weights.shape[-2:]
    places = torch.arange(keys, device=weights.device)
    # Later keys read offset 0, where their weight of 0 adds nothing.
    offsets = (places[first:, None] - places).clamp(0, clip).expand_as(weights)
    return weights.new_zeros(*weights.shape[:-2], rows, clip + 1).scatter_add(-1, offsets, weights)
