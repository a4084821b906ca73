"""KERPLE, logarithmic: a learned logarithmic penalty on distance, two numbers a head.

Source: Chi et al., "KERPLE" (NeurIPS 2022); chijames/KERPLE,
megatron/mpu/layers.py:ParallelKerpleLog.
Formula: score(i, j) = q_i . k_j / sqrt(D) - r1 ln(1 + r2 (i - j)), r1, r2 > 0.
No factor on the bias, as in the official code, which has one on its T5 baseline alone: r1 and r2
start at their full size, where a table starts at 0.
Start: r1 ~ U(0, 2), r2 ~ U(0, 1), as in the official code (there `bias_p`, `bias_a`). One pair a
head serves all layers, as there; per_layer=true is the form of the DAPE repository.

Deviations: the official code clamps `.data` to >= 0.01 inside the forward pass, behind the
optimiser's back. Here the forward value is max(r, 0.01) with the gradient of r (straight-through):
a stored parameter below 0.01 acts as 0.01 and is pulled back by the same gradients. Distances are
float32; the official ones have the model's dtype, and bfloat16 tells only 385 of 512 apart.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme

LOWEST = 0.01  # of r1 and r2, as in the official code


@dataclass
class Config:
    # a pair of parameters for each layer too, instead of one a head for all layers
    per_layer: bool = False


class KerpleLog(Scheme):
    """r1, r2: (1 or n_layers, H) float32."""

    Config = Config
    structure = "toeplitz"

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        shape = (dimensions.n_layers if config.per_layer else 1, dimensions.n_heads)
        self.r1 = nn.Parameter(torch.ones(shape))
        self.r2 = nn.Parameter(torch.ones(shape))

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Chi et al., NeurIPS 2022, logarithmic variant",
            year=2022,
            acts_on="scores",
            sharing="two numbers per head and layer"
            if self.config.per_layer
            else "two numbers per head, the same in all layers",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}",
            tail="defined at any length: the logarithm goes on",
            oracles=("mpmath, 50 digits", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.r1.uniform_(0.0, 2.0, generator=generator_for("r1"))
        self.r2.uniform_(0.0, 1.0, generator=generator_for("r2"))

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        r1, r2 = self.numbers(layer)
        return -r1 * torch.log1p(r2 * offsets.float())

    def numbers(self, layer: int, highest: float | None = None) -> tuple[Tensor, Tensor]:
        """r1 and r2 (H, 1), at least LOWEST, r2 at most `highest`, with the gradients of both."""
        row = layer if self.config.per_layer else 0
        r1, r2 = self.r1[row][:, None], self.r2[row][:, None]
        return (
            r1 + (r1.clamp(min=LOWEST) - r1).detach(),
            r2 + (r2.clamp(min=LOWEST, max=highest) - r2).detach(),
        )
