"""p-RoPE: RoPE whose slowest pairs stand still. The fast ones carry position, the others only content.

Source: Barbero et al., "Round and round we go!" (ICLR 2025, arXiv 2410.06205), section 6; Gemma 4 uses it ("proportional" RoPE).
Formula: pair k of the D/2 pairs of channels is turned by i * base^(-2k/D) for k < floor(p * D/2), and not at all otherwise.
p = 1 is RoPE and p = 0 no positions at all. The paper finds p = 0.75 best at its training length of 8192; it tests no longer windows.

The frequencies are those of the whole head: not partial RoPE (rope_partial.py), which spreads the whole range of them over fewer
channels. No deviation.
"""

from dataclasses import dataclass

from torch import Tensor

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    p: float = 0.75  # share of the pairs that turn, the fastest ones; 0: no positions, 1: RoPE
    base: float = 10000.0  # theta: pair k has the wavelength 2 pi base^(2k/D)
    layout: str = "interleaved"  # which channels make a pair: interleaved | half_split

    def __post_init__(self):
        check(0 <= self.p <= 1, f"scheme.p={self.p}: expected 0 <= p <= 1")
        limit(self, "scheme", "> 1", "base")
        choice("scheme.layout", self.layout, rotary.LAYOUTS)


class PRoPE(Scheme):
    """Rotates the fastest pairs of q and k (B, H, T, D) by their position. No parameters."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        check(
            dimensions.head_dim % 2 == 0,
            f"model.width / n_heads = {dimensions.head_dim}: scheme p_rope expects an even number",
        )

    @property
    def declaration(self) -> Declaration:
        spectrum, reach = self.spectrum, self.dimensions.train_length
        finished = min(spectrum.kept, rotary.within(spectrum.base, spectrum.channels, reach))
        return Declaration(
            paper="Barbero et al., ICLR 2025, arXiv 2410.06205, section 6",
            year=2024,
            acts_on="queries and keys",
            structure="none",
            sharing=f"no parameters; the same rotation of {spectrum.kept} of {spectrum.channels // 2} pairs in every layer and head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {reach - 1}; {finished} of the {spectrum.kept} pairs that turn complete a turn",
            tail="defined at any length; unseen angles of the slow pairs that turn",
            oracles=("transformers", "float64 loop"),
        )

    @property
    def spectrum(self) -> rotary.Spectrum:
        D = self.dimensions.head_dim
        return rotary.Spectrum(self.config.base, channels=D, kept=int(self.config.p * D / 2))

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor, layer: int) -> Tensor:
        return rotary.turned(x, cos, sin, self.config.layout)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        angles = rotary.angles(positions, self.spectrum.frequencies(positions.device))
        return rotary.rotate(self, q, k, angles, layer)
