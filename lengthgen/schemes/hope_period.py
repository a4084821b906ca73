"""HoPE: RoPE in which only the pairs that complete a turn within the training length are rotated.

Source: Chen et al., "HoPE: a novel positional encoding without long-term decay" (ACL 2025, arXiv 2410.21216). Two later papers use the same
name for other things (arXiv 2505.20444, 2509.05218), hence hope_period.
Formula: pair k of the D/2 pairs of channels is turned by i * base^(-2k/D) if its period 2 pi base^(2k/D) is at most train_length, and not
at all otherwise: p-RoPE with the p that follows from the length. Every angle modulo a turn is then met in training, so nothing that a
single pair says about position is new beyond it. 16 of 32 pairs turn at D = 64 and train_length 512.

The choice made here: the abstract says that only high-frequency signals are kept and position-independent components take the place
of the others; the limit at one period per training window follows secondary sources, as no official code was found.
"""

from dataclasses import dataclass

from torch import Tensor

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    base: float = 10000.0  # theta: pair k has the wavelength 2 pi base^(2k/D)
    layout: str = "interleaved"  # which channels make a pair: interleaved | half_split

    def __post_init__(self):
        limit(self, "scheme", "> 1", "base")
        choice("scheme.layout", self.layout, rotary.LAYOUTS)


class HoPEPeriod(Scheme):
    """Rotates the pairs of q and k (B, H, T, D) that complete a turn in train_length. No parameters."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        check(
            dimensions.head_dim % 2 == 0,
            f"model.width / n_heads = {dimensions.head_dim}: scheme hope_period expects an even number",
        )

    @property
    def declaration(self) -> Declaration:
        kept, pairs = self.spectrum.kept, self.dimensions.head_dim // 2
        return Declaration(
            paper="Chen et al., ACL 2025, arXiv 2410.21216",
            year=2024,
            acts_on="queries and keys",
            structure="none",
            sharing=f"no parameters; the same rotation of {kept} of {pairs} pairs in every layer and head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}; every pair that turns completes a turn",
            tail="defined at any length; no single pair meets an unseen angle, their combinations are new",
            oracles=("transformers", "float64 loop"),
        )

    @property
    def spectrum(self) -> rotary.Spectrum:
        D, base = self.dimensions.head_dim, self.config.base
        return rotary.Spectrum(
            base, channels=D, kept=rotary.within(base, D, self.dimensions.train_length)
        )

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor, layer: int) -> Tensor:
        return rotary.turned(x, cos, sin, self.config.layout)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        angles = rotary.angles(positions, self.spectrum.frequencies(positions.device))
        return rotary.rotate(self, q, k, angles, layer)
