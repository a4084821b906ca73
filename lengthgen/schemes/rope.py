"""RoPE: rotary position embedding. Queries and keys are rotated by their position.

Source: Su et al., "RoFormer" (arXiv 2104.09864, Neurocomputing 2024), equations 14, 15 and 34.
Formula: pair k of the D/2 pairs of channels is turned by the angle i base^(-2k/D), k = 0..D/2-1, i
from 0. All of the head is rotated; scores then depend on offsets alone.
Layouts: see rotary.py. The default, interleaved, is the faster one.

A larger base (500,000 in Llama 3) slows all pairs but the first, so fewer complete a turn within
the training length; the others meet unseen angles beyond it. No deviation.
"""

from dataclasses import dataclass
from typing import ClassVar

from lengthgen.config.dataclass_from import choice, limit
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration


@dataclass
class Config:
    base: float = 10000.0  # theta: pair k has the wavelength 2 pi base^(2k/D)
    layout: str = "interleaved"  # which channels make a pair: interleaved | half_split

    def __post_init__(self):
        limit(self, "scheme", "> 1", "base")
        choice("scheme.layout", self.layout, rotary.LAYOUTS)


class RoPE(rotary.RotaryScheme):
    """Rotates all pairs. No parameters."""

    Config: ClassVar[type] = Config

    @property
    def declaration(self) -> Declaration:
        reach = self.dimensions.train_length - 1
        return Declaration(
            paper="Su et al., RoFormer, arXiv 2104.09864, eq. 34",
            year=2021,
            acts_on="queries and keys",
            sharing="no parameters; the same rotation in every layer and head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {reach}; pairs of longer wavelength never complete a turn",
            tail="defined at any length; unseen angles of the slow pairs",
            oracles=("transformers", "x-transformers", "rotary-embedding-torch", "float64 loop"),
        )
