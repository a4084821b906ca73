"""RoPE: rotary position embedding. Queries and keys are rotated by their position, so scores depend on offsets.

Source: Su et al., "RoFormer" (arXiv 2104.09864, Neurocomputing 2024), equations 14, 15 and 34.
Formula: pair k of the D/2 pairs of channels is turned by the angle i * base^(-2k/D), k = 0..D/2-1, i from 0.
Layouts: `interleaved` pairs channels (2k, 2k+1), as the paper, GPT-J and Meta's Llama; `half_split` pairs (k, k + D/2), as GPT-NeoX
and Hugging Face's Llama. Equal up to a fixed permutation of the rows of W_q and W_k, so irrelevant when training from scratch;
interleaved is the default because one complex product is three times faster in eager mode.

Angles in float64, cosines and sines in float32, whatever the dtype of q: angles in bfloat16 are off by 0.6 rad at
position 512 (the trap of gpt-neox#1003 and many others). All of the head is rotated. No deviation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen import typed
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    base: float = 10000.0  # theta: pair k has the wavelength 2 pi base^(2k/D)
    layout: str = "interleaved"  # which channels make a pair: interleaved | half_split

    def __post_init__(self):
        typed.check(self.base > 1, f"scheme.base={self.base}: expected a number > 1")
        typed.choice("scheme.layout", self.layout, ("interleaved", "half_split"))


class RoPE(Scheme):
    """Rotates q and k (B, H, T, D) by their position. No parameters."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        typed.check(dimensions.head_dim % 2 == 0, f"model.width / n_heads = {dimensions.head_dim}: scheme rope expects an even number")

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
        )

    def angles(self, positions: Tensor) -> Tensor:
        """(T, D/2) float64 radians of positions (T,)."""
        D = self.dimensions.head_dim
        k = torch.arange(D // 2, device=positions.device, dtype=torch.float64)
        return positions.double()[:, None] * self.config.base ** (-2 * k / D)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        turn = torch.double if q.dtype == torch.float64 else torch.float
        angles = self.angles(positions)
        cos, sin = angles.cos().to(turn), angles.sin().to(turn)
        rotated = _interleaved if self.config.layout == "interleaved" else _half_split
        return rotated(q.to(turn), cos, sin).to(q.dtype), rotated(k.to(turn), cos, sin).to(k.dtype)


def _interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(x_2k + i x_2k+1) e^(i angle): x (B, H, T, D); cos, sin (T, D/2)."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.complex(cos, sin)).flatten(-2)


def _half_split(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same with pairs (x_k, x_(k + D/2))."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)
