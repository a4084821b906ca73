"""HoPE: RoPE in which only the pairs that complete a turn within the training length are rotated.

Source: Chen et al., "HoPE" (ACL 2025, arXiv 2410.21216). Two later papers give the name to other
things (arXiv 2505.20444, 2509.05218), hence hope_period.
Formula: pair k of the D/2 pairs of channels is turned by i base^(-2k/D) if its period
2 pi base^(2k/D) is at most train_length, else not at all: p-RoPE with p set by the length. Training
then meets every angle of every pair. 16 of 32 pairs turn at D = 64 and train_length 512.

The abstract says that high-frequency signals are kept and the others replaced by components without
position. The limit of one period per training window is from secondary sources: we found no
official code.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from lengthgen.schemes import rope, rotary
from lengthgen.schemes.base import Declaration


@dataclass
class Config(rope.Config):
    """RoPE's options."""


class HoPEPeriod(rope.RoPE):
    """Rotates the pairs that complete a turn in train_length. No parameters."""

    Config: ClassVar[type] = Config

    @property
    def declaration(self) -> Declaration:
        turning = f"{self.spectrum.kept} of {self.dimensions.head_dim // 2} pairs"
        reach = self.dimensions.train_length - 1
        return replace(
            super().declaration,
            paper="Chen et al., ACL 2025, arXiv 2410.21216",
            year=2024,
            sharing=f"no parameters; the same rotation of {turning} in every layer and head",
            trained_reach=f"offset {reach}; every pair that turns completes a turn",
            tail="defined at any length; no single pair meets an unseen angle, "
            "their combinations are new",
            oracles=("transformers", "float64 loop"),
        )

    @property
    def spectrum(self) -> rotary.Spectrum:
        D, base = self.dimensions.head_dim, self.config.base
        kept = rotary.within(base, D, self.dimensions.train_length)
        return rotary.Spectrum(base, channels=D, kept=kept)
