"""Sandwich: the inner product of two sinusoidal codes as a fixed bias, scaled per head.

Source: Chi et al., "Dissecting Transformer length extrapolation via the lens of receptive field
analysis" (ACL 2023, arXiv 2212.10356), section 5. No official code; compared with pykt-toolkit.
Formula: score(i, j) = q_i . k_j / sqrt(D) + (1 / c_h) * sum_{k=0}^{d_bar/2 - 1} cos((i - j) /
base^(2k / d_bar)), c_h = 8 h / H, h = 1..H. The paper leaves open whether k starts at 0 or 1; 0 is
Vaswani's indexing.
Deviation: the sum at offset 0, d_bar / 2, is subtracted, a constant per head that softmax cancels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import check, limit
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    d_bar: int = 128  # size of the sinusoidal code whose inner product is taken; even
    base: float = 10000.0  # longest wavelength / 2 pi, nearly

    def __post_init__(self):
        check(
            self.d_bar > 0 and self.d_bar % 2 == 0,
            f"scheme.d_bar={self.d_bar}: expected an even positive integer",
        )
        limit(self, "scheme", "> 1", "base")


class Sandwich(Scheme):
    """(H / 8h) (sum_k cos(offset w_k) - d_bar / 2). No parameters."""

    Config = Config
    structure = "toeplitz"

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Chi et al., ACL 2023, arXiv 2212.10356, section 5",
            year=2023,
            acts_on="scores",
            sharing="no parameters; the same in every layer, one scale per head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}",
            tail="defined at any length: the sum goes on, close to a logarithm",
            oracles=("transformers", "float64 loop"),
        )

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        half, H = self.config.d_bar // 2, self.dimensions.n_heads
        k = torch.arange(half, device=offsets.device, dtype=torch.float64)
        # Summed in float64; without its constant the bias is exact in float32 near offset 0.
        kernel = (offsets.double()[:, None] * self.config.base ** (-k / half)).cos().sum(-1) - half
        heads = torch.arange(1, H + 1, device=offsets.device, dtype=torch.float64)
        return ((H / (8 * heads))[:, None] * kernel).float()
