"""KERPLE, power: a learned power of distance as a penalty, two numbers a head.

Source: Chi, Fan, Ramadge, Rudnicky, "KERPLE: kernelized relative positional embedding for length
extrapolation" (NeurIPS 2022); chijames/KERPLE, megatron/mpu/layers.py:ParallelKerplePower.
Formula: score(i, j) = q_i . k_j / sqrt(D) - r1 (i - j)^r2, r1 > 0, 0 < r2 <= 2. Not divided by
sqrt(D). r2 = 1 is ALiBi with slope r1.
Start: r1 ~ U(0, 1), r2 ~ U(0, 2), as in the official code (there `bias_a`, `bias_p`). One pair a
head serves all layers, as there; per_layer=true is the form of the DAPE repository.

Deviations: r1 >= 0.01 and 0.01 <= r2 <= 2 are held by a straight-through clamp, and distances are
float32: see kerple_log.py.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme

LOWEST = 0.01  # of r1 and r2, as in the official code
HIGHEST_POWER = 2.0  # the kernel is conditionally positive definite up to here


@dataclass
class Config:
    # a pair of parameters for each layer too, instead of one a head for all layers
    per_layer: bool = False


class KerplePower(Scheme):
    """r1, r2: (1 or n_layers, H) float32."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        shape = (dimensions.n_layers if config.per_layer else 1, dimensions.n_heads)
        self.r1 = nn.Parameter(torch.ones(shape))
        self.r2 = nn.Parameter(torch.ones(shape))

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Chi et al., NeurIPS 2022, power variant",
            year=2022,
            acts_on="scores",
            structure="toeplitz",
            sharing="two numbers per head and layer"
            if self.config.per_layer
            else "two numbers per head, the same in all layers",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}",
            tail="defined at any length: the power goes on",
            oracles=("transformers", "mpmath, 50 digits", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.r1.uniform_(0.0, 1.0, generator=generator_for("r1"))
        self.r2.uniform_(0.0, 2.0, generator=generator_for("r2"))

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        row = layer if self.config.per_layer else 0
        r1 = bounded(self.r1[row], None)[:, None]
        r2 = bounded(self.r2[row], HIGHEST_POWER)[:, None]
        return -r1 * offsets.float() ** r2


def bounded(r: Tensor, highest: float | None) -> Tensor:
    """r clamped to LOWEST..highest with the gradient of r."""
    return r + (r.clamp(min=LOWEST, max=highest) - r).detach()
