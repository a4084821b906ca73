"""xPos (LeX): RoPE whose pairs also decay with the offset, the fast ones first.

Source: Sun et al., "A length-extrapolatable Transformer" (ACL 2023, arXiv 2212.10554), section 3;
the authors' torchscale, component/xpos_relative_position.py.
Formula: pair k of a query is turned by i base^(-2k/D) and multiplied by z_k^((i - c) / scale_base),
that of a key by z_k^(-(j - c) / scale_base), z_k = (2k/D + 0.4) / 1.4. Their score then has the
factor z_k^((i - j) / scale_base) for any centre c. scale_base 512 and 0.4 are the paper's: the
first pair loses a factor 3.5 every 512 tokens.

c keeps the powers in range. torchscale takes the middle of the window at hand, so a prefix and the
whole window round differently; here c is the middle of a training window: the same numbers in
training, and for every prefix.
For causal attention only: the factor grows without bound toward later keys. The paper evaluates
with blockwise causal attention; without it the scheme becomes mostly local. Deviations: the fixed
centre, and no such blocks.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration, Scheme

SMOOTHING = 0.4  # gamma of the paper
# Largest logarithm of a score's factor. float32 ends at 2^128, so 2^27 is left for q and k.
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
    """Rotates and scales q and k (B, H, T, D). No parameters.

    Not a rotary.RotaryScheme: a retrofit that changes frequencies would leave the decay as it is.
    """

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        self.check_even("model.width / n_heads", dimensions.head_dim)
        check(
            dimensions.train_length <= self.longest,
            f"scheme.scale_base={config.scale_base}: windows of train_length="
            f"{dimensions.train_length} tokens would leave the range of float32; give a larger one",
        )

    @property
    def declaration(self) -> Declaration:
        reach = self.dimensions.train_length - 1
        return Declaration(
            paper="Sun et al., ACL 2023, arXiv 2212.10554, section 3",
            year=2022,
            acts_on="queries and keys",
            sharing="no parameters; the same rotation and fading in every layer and head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {reach}; pairs of longer wavelength never complete a turn",
            tail="fades on: unseen angles at ever smaller weight; "
            f"windows past {self.longest} tokens are refused",
            oracles=("x-transformers", "rotary-embedding-torch", "float64 loop"),
        )

    @property
    def centre(self) -> int:
        """The position of factor 1."""
        return self.dimensions.train_length // 2

    @property
    def longest(self) -> int:
        """Tokens of the longest window whose scores stay in range, masked ones included."""
        return int(self.config.scale_base * LARGEST / -math.log(SMOOTHING / (1 + SMOOTHING)))

    def refusal(self, length: int) -> str | None:
        if length <= self.longest:
            return None
        return (
            f"xpos trained at {self.dimensions.train_length} tokens with "
            f"scale_base={self.config.scale_base:g} stays within float32 up to "
            f"{self.longest} tokens, and the window has {length}"
        )

    def factors(self, positions: Tensor) -> Tensor:
        """(T, D/2) float64 at positions (T,): a query's pairs are multiplied, a key's divided."""
        D = self.dimensions.head_dim
        share = torch.arange(0, D, 2, device=positions.device, dtype=torch.float64) / D
        z = (share + SMOOTHING) / (1 + SMOOTHING)
        return z ** ((positions.double()[:, None] - self.centre) / self.config.scale_base)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        D, layout = self.dimensions.head_dim, self.config.layout
        spectrum = rotary.Spectrum(self.config.base, channels=D, kept=D // 2)
        angles = rotary.angles(positions, spectrum.frequencies(positions.device))
        cos, sin = rotary.waves(angles, q.dtype)
        # Powers in float64, factors in float32: half precision would overflow past 4,500 positions.
        factors = self.factors(positions)
        up, down = factors.to(cos.dtype), factors.reciprocal().to(cos.dtype)
        return (
            rotary.turned(q, cos * up, sin * up, layout),
            rotary.turned(k, cos * down, sin * down, layout),
        )
