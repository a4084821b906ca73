"""xPos (LeX): RoPE whose pairs also fade with the offset, the fast ones first.

Source: Sun et al., "A length-extrapolatable Transformer" (ACL 2023, arXiv 2212.10554), section 3, and the authors' torchscale,
component/xpos_relative_position.py.
Formula: pair k of a query is turned by i * base^(-2k/D) and multiplied by z_k^((i - c) / scale_base), that of a key by z_k^(-(j - c) /
scale_base), z_k = (2k/D + 0.4) / 1.4: their product in the score has the factor z_k^((i - j) / scale_base), whatever the centre c.
scale_base 512 and 0.4 are the paper's; the first pair loses a factor 3.5 every 512 tokens.

The centre. c keeps the powers in range; torchscale takes the middle of the window at hand, and then a prefix and the whole window round
differently. Here it is the middle of a training window, whatever the window: the same numbers as torchscale's in training, and the same for
every prefix. Each factor has full relative precision, so nothing but the range of float32 limits it: the factor of the farthest offset
stays below 2^100, which at scale_base 512 is 28,328 tokens; longer windows are refused. Powers in float64, factors in float32 (bfloat16
has the same range; half precision would overflow past 4,500 positions).

For causal attention only: toward later keys the factor grows without bound. The paper evaluates with blockwise causal attention, a window
of its own; without one the scheme mostly becomes local. Deviation: no such window here, and the fixed centre.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.errors import ConfigError
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration, Scheme

SMOOTHING = 0.4  # gamma of the paper
# of the logarithm of a score's factor: leaves 2^27 for queries and keys themselves
LARGEST = 100 * math.log(2)


@dataclass
class Config:
    scale_base: float = 512.0  # tokens over which the fastest pair loses a factor 3.5
    base: float = 10000.0  # theta: pair k has the wavelength 2 pi base^(2k/D)
    layout: str = "interleaved"  # which channels make a pair: interleaved | half_split

    def __post_init__(self):
        limit(self, "scheme", "> 0", "scale_base")
        limit(self, "scheme", "> 1", "base")
        choice("scheme.layout", self.layout, rotary.LAYOUTS)


class XPos(Scheme):
    """Rotates and scales q and k (B, H, T, D) by their position. No parameters."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        check(
            dimensions.head_dim % 2 == 0,
            f"model.width / n_heads = {dimensions.head_dim}: scheme xpos expects an even number",
        )
        check(
            dimensions.train_length <= self.longest,
            f"scheme.scale_base={config.scale_base}: windows of train_length={dimensions.train_length} tokens would leave the range of "
            "float32; give a larger one",
        )

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Sun et al., ACL 2023, arXiv 2212.10554, section 3",
            year=2022,
            acts_on="queries and keys",
            structure="none",
            sharing="no parameters; the same rotation and fading in every layer and head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}; pairs of longer wavelength never complete a turn",
            tail=f"fades on: unseen angles at ever smaller weight; windows past {self.longest} tokens are refused",
            oracles=("x-transformers", "rotary-embedding-torch", "float64 loop"),
        )

    @property
    def centre(self) -> int:
        """The position of factor 1."""
        return self.dimensions.train_length // 2

    @property
    def longest(self) -> int:
        """Tokens of the longest window whose scores stay in range, those of masked later keys included."""
        return int(self.config.scale_base * LARGEST / -math.log(SMOOTHING / (1 + SMOOTHING)))

    def refusal(self, length: int) -> str | None:
        if length <= self.longest:
            return None
        return (
            f"xpos trained at {self.dimensions.train_length} tokens with scale_base={self.config.scale_base:g} stays within float32 up to "
            f"{self.longest} tokens, and the window has {length}"
        )

    def positions(self, length: int, device: torch.device) -> Tensor:
        if reason := self.refusal(length):
            raise ConfigError(reason)
        return super().positions(length, device)

    def factors(self, positions: Tensor) -> Tensor:
        """(T, D/2) float64: what a query's pairs are multiplied by at positions (T,), and a key's are divided by."""
        D = self.dimensions.head_dim
        z = (
            torch.arange(0, D, 2, device=positions.device, dtype=torch.float64) / D + SMOOTHING
        ) / (1 + SMOOTHING)
        return z ** ((positions.double()[:, None] - self.centre) / self.config.scale_base)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        D = self.dimensions.head_dim
        frequencies = rotary.Spectrum(self.config.base, channels=D, kept=D // 2).frequencies(
            positions.device
        )
        cos, sin = rotary.waves(rotary.angles(positions, frequencies), q.dtype)
        factors = self.factors(positions)
        up, down = factors.to(cos.dtype), factors.reciprocal().to(cos.dtype)
        return (
            rotary.turned(q, cos * up, sin * up, self.config.layout),
            rotary.turned(k, cos * down, sin * down, self.config.layout),
        )
