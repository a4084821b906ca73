"""Dynamic NTK scaling: a larger base that follows the length of the window at hand.

Source: emozilla (2023); formula as in transformers' _compute_dynamic_ntk_parameters and yarn's
LlamaDynamicScaledRotaryEmbedding.
Formula: base' = base (alpha L' / L - (alpha - 1))^(R / (R - 2)) for a window of L' > L tokens, L
the training length and R the rotated channels; base otherwise. alpha = 1: NTK-aware scaling by
L' / L.

It is not prefix-consistent: one more token changes every earlier logit. yarn's class and
transformers' first ones kept the larger base after a long window; here the window's length alone
decides.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Respaced


@dataclass
class Config:
    alpha: float = 1.0  # how fast the base grows with the length ("factor" in transformers)

    def __post_init__(self):
        limit(self, "retrofit", ">= 1", "alpha")


class DynamicNTK(Respaced):
    Config = Config
    about = About(
        "emozilla, 2023; Peng et al., arXiv 2309.00071, section 3.3",
        2023,
        "rotary schemes",
        ("transformers", "float64 loop"),
    )
    least_pairs = 2

    @property
    def fixed_factor(self) -> None:
        return None

    @property
    def change(self) -> str:
        return f"base that grows with the window, alpha = {self.config.alpha:g}"

    def factor(self, length: int) -> float:
        longer = max(1.0, length / self.dimensions.train_length)
        return self.config.alpha * longer - (self.config.alpha - 1)

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        return self.trained.spectrum.slowed(self.factor(length)).frequencies(device)
