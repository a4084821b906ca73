"""KERPLE, power: a learned power of distance as a penalty, two numbers a head.

Source: Chi et al., "KERPLE" (NeurIPS 2022); chijames/KERPLE,
megatron/mpu/layers.py:ParallelKerplePower.
Formula: score(i, j) = q_i . k_j / sqrt(D) - r1 (i - j)^r2, r1 > 0, 0 < r2 <= 2. r2 = 1 is ALiBi
with slope r1.
Start: r1 ~ U(0, 1), r2 ~ U(0, 2), as in the official code (there `bias_a`, `bias_p`). One pair a
head serves all layers, as there; per_layer=true is the form of the DAPE repository.

Deviations: r1 >= 0.01 and 0.01 <= r2 <= 2 are held by a straight-through clamp, and distances are
float32: see kerple_log.py.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lengthgen.schemes import kerple_log
from lengthgen.schemes.base import Declaration, GeneratorFor

HIGHEST_POWER = 2.0  # the kernel is conditionally positive definite up to here


@dataclass
class Config(kerple_log.Config):
    """The options of the logarithm."""


class KerplePower(kerple_log.KerpleLog):
    """r1, r2: (1 or n_layers, H) float32."""

    Config = Config

    @property
    def declaration(self) -> Declaration:
        return replace(
            super().declaration,
            paper="Chi et al., NeurIPS 2022, power variant",
            tail="defined at any length: the power goes on",
            oracles=("transformers", "mpmath, 50 digits", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.r1.uniform_(0.0, 1.0, generator=generator_for("r1"))
        self.r2.uniform_(0.0, 2.0, generator=generator_for("r2"))

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        r1, r2 = self.numbers(layer, HIGHEST_POWER)
        return -r1 * offsets.float() ** r2
