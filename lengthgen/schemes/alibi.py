"""ALiBi: attention with linear biases. A fixed penalty on distance, with one slope per head.

Source: Press, Smith, Lewis, "Train short, test long" (ICLR 2022), section 3; slopes as in the
official fairseq/models/transformer.py:get_slopes.
Formula: score(i, j) = q_i . k_j / sqrt(D) - m_h (i - j), m_h = 2^(-8 h / H), h = 1..H, for H a
power of two. Otherwise the slopes of the next smaller power P, then the 1st, 3rd, ... of 2 P until
there are H. The bias is not divided by sqrt(D) (footnote 10).
max_bias (8 in the paper) is MPT's generalisation: m_h = 2^(-max_bias h / H). `divided` is Falcon's
form, in which the bias is divided by sqrt(D) as q . k is.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    max_bias: float = 8.0  # the last slope is 2^-max_bias
    divided: bool = False  # by sqrt(D), as the scores are (Falcon)

    BEFORE: ClassVar[dict] = {"divided": False}

    def __post_init__(self):
        limit(self, "scheme", "> 0", "max_bias")


class ALiBi(Scheme):
    """-m_h (i - j). No parameters."""

    Config = Config
    structure = "toeplitz"

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Press, Smith, Lewis, ICLR 2022, section 3",
            year=2022,
            acts_on="scores",
            sharing="no parameters; the same slopes in every layer, one per head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}",
            tail="defined at any length: the line goes on",
            oracles=("transformers", "x-transformers", "float64 loop"),
        )

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        # The official code adds +m_h j instead: equal after softmax in exact arithmetic, but in
        # bfloat16 it moves 0.42 of the attention of the steepest of 8 heads at 4096 tokens.
        steep = slopes(self.dimensions.n_heads, self.config.max_bias, offsets.device)
        if self.config.divided:
            steep = steep * self.dimensions.head_dim**-0.5
        return -steep[:, None] * offsets.float()


def slopes(n_heads: int, max_bias: float = 8.0, device: torch.device | None = None) -> Tensor:
    """m_h (H,) float32, positive."""
    power = 1 << (n_heads.bit_length() - 1)  # the largest power of two <= H
    first = torch.arange(1, power + 1, device=device, dtype=torch.float64) / power
    rest = (2 * torch.arange(n_heads - power, device=device, dtype=torch.float64) + 1) / (2 * power)
    return torch.exp2(-max_bias * torch.cat((first, rest))).float()
