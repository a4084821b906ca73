"""ALiBi with learned slopes, one per head, trained from the fixed ones on.

Source: Press, Smith, Lewis, "Train short, test long" (ICLR 2022), section 3, which tried them and
did not keep them; McGill-NLP/length-generalization (Kazemnejad et al., NeurIPS 2023),
"alibi_learned".
Formula: score(i, j) = q_i . k_j / sqrt(D) - exp(l_h) (i - j); exp(l_h) starts as ALiBi's m_h.

As in McGill's code the logarithm is learned: slopes stay positive without a clamp, and a step
changes each in proportion, so the flat heads, which carry far attention, learn as easily as the
steep ones. One number a head serves all layers, as there, unless per_layer.
No factor on the bias: it starts at ALiBi's size, and a step of the logarithm is a share of it.
Deviation: McGill's code adds the slope times the key's index (see alibi.py).
FoX with gate=bias_only (fox.py) has the same form for each layer, with a gate's logit as parameter.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes.alibi import slopes
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


@dataclass
class Config:
    max_bias: float = 8.0  # the last slope starts as 2^-max_bias
    per_layer: bool = False  # slopes for each layer too, instead of one a head for all layers

    def __post_init__(self):
        limit(self, "scheme", "> 0", "max_bias")


class ALiBiLearned(Scheme):
    """log_slopes: (1 or n_layers, H) float32."""

    Config = Config
    structure = "toeplitz"

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        self.log_slopes = nn.Parameter(
            torch.zeros(dimensions.n_layers if config.per_layer else 1, dimensions.n_heads)
        )

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Press, Smith, Lewis, ICLR 2022, section 3; "
            "learned slopes as in Kazemnejad et al., NeurIPS 2023",
            year=2023,
            acts_on="scores",
            sharing="a number per head and layer"
            if self.config.per_layer
            else "a number per head, the same in all layers",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}",
            tail="defined at any length: the line goes on",
            oracles=("transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        fixed = slopes(self.dimensions.n_heads, self.config.max_bias)
        self.log_slopes.copy_(fixed.double().log2() * math.log(2))

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        log_slopes = self.log_slopes[layer if self.config.per_layer else 0]
        return -log_slopes.exp()[:, None] * offsets.float()
