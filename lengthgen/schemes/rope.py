"""RoPE: rotary position embedding. Queries and keys are rotated by their position, so scores depend on offsets.

Source: Su et al., "RoFormer" (arXiv 2104.09864, Neurocomputing 2024), equations 14, 15 and 34.
Formula: pair k of the D/2 pairs of channels is turned by the angle i * base^(-2k/D), k = 0..D/2-1, i from 0.
Layouts: `interleaved` pairs channels (2k, 2k+1), `half_split` (k, k + D/2); rotary.py says who uses which. Irrelevant when training
from scratch; interleaved is the default because it is faster.
A larger base ("adjusted base": 500,000 in Code Llama and Llama 3) slows all pairs but the first: fewer of them complete a turn
within the training length, and those that do not are the ones that meet unseen angles beyond it.

All of the head is rotated. No deviation.
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


class RoPE(Scheme):
    """Rotates q and k (B, H, T, D) by their position. No parameters."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        check(
            dimensions.head_dim % 2 == 0,
            f"model.width / n_heads = {dimensions.head_dim}: scheme rope expects an even number",
        )

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Su et al., RoFormer, arXiv 2104.09864, eq. 34",
            year=2021,
            acts_on="queries and keys",
            structure="none",
            sharing="no parameters; the same rotation in every layer and head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}; pairs of longer wavelength never complete a turn",
            tail="defined at any length; unseen angles of the slow pairs",
            oracles=("transformers", "x-transformers", "rotary-embedding-torch", "float64 loop"),
        )

    @property
    def spectrum(self) -> rotary.Spectrum:
        D = self.dimensions.head_dim
        return rotary.Spectrum(self.config.base, channels=D, kept=D // 2)

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor, layer: int) -> Tensor:
        return rotary.turned(x, cos, sin, self.config.layout)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        angles = rotary.angles(positions, self.spectrum.frequencies(positions.device))
        return rotary.rotate(self, q, k, angles, layer)
