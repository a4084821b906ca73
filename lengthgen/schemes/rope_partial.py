"""Partial RoPE: only the first channels of every head are rotated, with all wavelengths.

Source: GPT-J (Wang and Komatsuzaki, 2021; rotary_dim 64 of 256) and GPT-NeoX (Black et al., arXiv
2204.06745, section 2.1.1; rotary_pct 0.25).
Formula: the first R of a head's D channels, R = fraction D rounded down to an even number, are
rotated as RoPE rotates a head of size R: pair k = 0..R/2-1 by the angle i base^(-2k/R). The others
carry no position. p-RoPE (p_rope.py) instead keeps the frequencies of D channels and stops the slow
ones. No deviation.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.schemes import rope, rotary
from lengthgen.schemes.base import Declaration


@dataclass
class Config:
    fraction: float = 0.25  # share of a head's channels that is rotated (GPT-NeoX, GPT-J)
    base: float = 10000.0  # theta: pair k has the wavelength 2 pi base^(2k/R), R rotated channels
    # which of the rotated channels make a pair: interleaved | half_split
    layout: str = "interleaved"

    def __post_init__(self):
        check(
            0 < self.fraction <= 1, f"scheme.fraction={self.fraction}: expected 0 < fraction <= 1"
        )
        limit(self, "scheme", "> 1", "base")
        choice("scheme.layout", self.layout, rotary.LAYOUTS)


class RoPEPartial(rope.RoPE):
    """Rotates the first channels. No parameters."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        check(
            self.spectrum.channels > 0,
            f"scheme.fraction={config.fraction} of {dimensions.head_dim} channels a head: "
            "expected room for a pair",
        )

    @property
    def declaration(self) -> Declaration:
        R, D, reach = self.spectrum.channels, self.dimensions.head_dim, self.dimensions.train_length
        finished = rotary.within(self.config.base, R, reach)
        return replace(
            super().declaration,
            paper="GPT-J, 2021; Black et al., GPT-NeoX-20B, arXiv 2204.06745, section 2.1.1",
            sharing=f"no parameters; the same rotation of {R} of {D} channels "
            "in every layer and head",
            trained_reach=f"offset {reach - 1}; {finished} of {R // 2} pairs complete a turn",
            oracles=("transformers", "x-transformers", "float64 loop"),
        )

    @property
    def spectrum(self) -> rotary.Spectrum:
        pairs = int(self.config.fraction * self.dimensions.head_dim) // 2
        return rotary.Spectrum(self.config.base, channels=2 * pairs, kept=pairs)

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor, layer: int) -> Tensor:
        # A contiguous slice, so that half_split pairs k with k + R/2. Zero frequencies for the rest
        # of the head would pair k with k + D/2 instead.
        R = self.spectrum.channels
        rotated = rotary.turned(x[..., :R], cos, sin, self.config.layout)
        return torch.cat((rotated, x[..., R:]), dim=-1)
