"""Dynamic NTK scaling: a larger base that follows the length of the window at hand.

Source: emozilla (2023); formula as in transformers' _compute_dynamic_ntk_parameters and yarn's LlamaDynamicScaledRotaryEmbedding.
Formula: base' = base (alpha L' / L - (alpha - 1))^(R / (R - 2)) for a window of L' > L tokens, L the training length and R the rotated
channels; base otherwise. alpha = 1: NTK-aware scaling with alpha = L' / L.

Traps: it is not prefix-consistent (a token more changes every logit before), so every length is evaluated by a pass of its own. Keys
that are cached keep an older base. yarn's class and transformers' first ones never went back after a long window, so that results
depended on the order of evaluation; here the base is a function of the window's length alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config import dataclass_from
from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Respaced


@dataclass
class Config:
    alpha: float = 1.0  # how fast the base grows with the length ("factor" in transformers)

    def __post_init__(self):
        dataclass_from.check(
            self.alpha >= 1, f"retrofit.alpha={self.alpha}: expected a number >= 1"
        )


class DynamicNTK(Respaced):
    """Changes the base with the length."""

    Config = Config
    about = About(
        "emozilla, 2023; Peng et al., arXiv 2309.00071, section 3.3",
        2023,
        "rotary schemes",
        ("transformers", "float64 loop"),
    )
    least_pairs = 2

    @property
    def follows_length(self) -> bool:
        return True

    @property
    def change(self) -> str:
        return f"base that grows with the window, alpha = {self.config.alpha:g}"

    def factor(self, length: int) -> float:
        longer = max(1.0, length / self.dimensions.train_length)
        return self.config.alpha * longer - (self.config.alpha - 1)

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        return self.inner.spectrum.slowed(self.factor(length)).frequencies(device)
