"""p-RoPE: RoPE whose slowest pairs do not turn. The fast pairs carry position, the others content.

Source: Barbero et al., "Round and round we go!" (ICLR 2025, arXiv 2410.06205), section 6; Gemma 4
uses it ("proportional" RoPE).
Formula: pair k of the D/2 pairs of channels is turned by i base^(-2k/D) for k < floor(p D/2), else
not at all. p = 1 is RoPE, p = 0 no positions. The paper finds p = 0.75 best at its training length
of 8192; it tests no longer windows.

The frequencies are those of the whole head, unlike partial RoPE (rope_partial.py), which spreads
their whole range over fewer channels. No deviation.
"""

from dataclasses import dataclass, replace

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.schemes import rope, rotary
from lengthgen.schemes.base import Declaration


@dataclass
class Config:
    p: float = 0.75  # share of the pairs that turn, the fastest ones; 0: no positions, 1: RoPE
    base: float = 10000.0  # theta: pair k has the wavelength 2 pi base^(2k/D)
    layout: str = "interleaved"  # which channels make a pair: interleaved | half_split

    def __post_init__(self):
        check(0 <= self.p <= 1, f"scheme.p={self.p}: expected 0 <= p <= 1")
        limit(self, "scheme", "> 1", "base")
        choice("scheme.layout", self.layout, rotary.LAYOUTS)


class PRoPE(rope.RoPE):
    """Rotates the fastest pairs. No parameters."""

    Config = Config

    @property
    def declaration(self) -> Declaration:
        kept, D, reach = self.spectrum.kept, self.dimensions.head_dim, self.dimensions.train_length
        finished = min(kept, rotary.within(self.config.base, D, reach))
        return replace(
            super().declaration,
            paper="Barbero et al., ICLR 2025, arXiv 2410.06205, section 6",
            year=2024,
            sharing=f"no parameters; the same rotation of {kept} of {D // 2} pairs "
            "in every layer and head",
            trained_reach=f"offset {reach - 1}; {finished} of the {kept} pairs that turn "
            "complete a turn",
            tail="defined at any length; unseen angles of the slow pairs that turn",
            oracles=("transformers", "float64 loop"),
        )

    @property
    def spectrum(self) -> rotary.Spectrum:
        D = self.dimensions.head_dim
        return rotary.Spectrum(self.config.base, channels=D, kept=int(self.config.p * D / 2))
