"""CAPE: continuous augmented positions. Training shifts, jitters and stretches sinusoids at random.

Source: Likhomanenko et al., "CAPE" (NeurIPS 2021), section 3.1. (DAPE, dape.py, first had the same
name.)
Formula, in training: p'_i = (p_i + delta + eps_i) lambda; delta ~ U(-global_shift, global_shift)
and ln lambda ~ U(-ln max_scale, ln max_scale) per sequence, eps_i ~ U(-local_shift, local_shift)
per token; x_i = sqrt(E) token_i + PE(p'_i), PE(p, 2c) = sin(p / base^(2c/E)), PE(p, 2c+1) = cos(the
same). In evaluation p'_i = p_i: the sinusoidal scheme (sinusoidal.py).

The paper sets the three ranges by the task; the defaults are ours. global_shift lets later
positions be trained: null means train_length, so training meets positions up to 2 train_length.
local_shift up to 0.5 keeps the order of tokens. centre=true subtracts the mean of the window's
positions first, as the paper does: a position then depends on the window's length, prefixes are not
consistent, and a longer window is unseen at both ends. scale_embedding: see sinusoidal.py.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes.base import Declaration
from lengthgen.schemes.sinusoidal import Sinusoidal, interleaved


@dataclass
class Config:
    # tokens by which a training sequence is shifted at most, either way; null: train_length
    global_shift: float | None = None
    local_shift: float = 0.5  # tokens by which a single position is moved at most, either way
    max_scale: float = 1.1  # factor by which a training sequence is stretched or squeezed at most
    centre: bool = False  # take the window's mean position away first, as the paper does
    base: float = 10000.0  # longest wavelength / 2 pi, nearly
    scale_embedding: bool = True  # multiply token embeddings by sqrt(width) first

    def __post_init__(self):
        limit(self, "scheme", ">= 0", "global_shift", "local_shift")
        limit(self, "scheme", ">= 1", "max_scale")
        limit(self, "scheme", "> 1", "base")


class CAPE(Sinusoidal):
    """sqrt(E) x + PE(position), positions augmented in training. No parameters."""

    Config = Config

    @property
    def declaration(self) -> Declaration:
        last = (self.dimensions.train_length - 1) / (2 if self.config.centre else 1)
        reach = (last + self.global_shift + self.config.local_shift) * self.config.max_scale
        return replace(
            super().declaration,
            paper="Likhomanenko et al., NeurIPS 2021, section 3.1",
            year=2021,
            prefix_consistent=not self.config.centre,
            trained_reach=f"position {reach:.0f}, seldom its like",
            tail="defined at any length; "
            "the vectors of positions past the trained reach were never seen",
            oracles=("transformers", "float64 loop"),
        )

    @property
    def reads_tokens(self) -> bool:
        return False  # `read` draws positions in training alone

    @property
    def global_shift(self) -> float:
        shift = self.config.global_shift
        return self.dimensions.train_length if shift is None else shift

    def positions(self, length: int, device: torch.device) -> Tensor:
        """(T,), those of evaluation: 0..T-1, or float32 around 0 with `centre`."""
        positions = super().positions(length, device)
        return positions - (length - 1) / 2 if self.config.centre else positions

    def read(self, tokens: Tensor) -> Tensor:
        """(T,) in evaluation; in training (B, T) float32, a draw for each sequence."""
        positions = super().read(tokens)
        if not self.training:
            return positions
        # From torch's global generator, which training seeds before every step.
        shift = uniform(self.global_shift, (len(tokens), 1), tokens.device)
        jitter = uniform(self.config.local_shift, tokens.shape, tokens.device)
        scale = uniform(math.log(self.config.max_scale), (len(tokens), 1), tokens.device).exp()
        return (positions + shift + jitter) * scale

    def code(self, positions: Tensor) -> Tensor:
        """PE (..., E) float32 of positions (T,) or (B, T)."""
        return interleaved(positions, self.dimensions.width, self.config.base).float()


def uniform(reach: float, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draws from U(-reach, reach), float32."""
    return (2 * torch.rand(shape, device=device) - 1) * reach
