"""Sinusoidal absolute positions, in the paper's form and in tensor2tensor's.

Source: Vaswani et al., "Attention is all you need" (NeurIPS 2017), section 3.5; tensor2tensor
layers/common_attention.py:get_timing_signal_1d, which fairseq copies (and ALiBi's baseline uses).
Formula, k = 0..E/2-1, position i from 0:
  vaswani        PE(i, 2k) = sin(i / base^(2k/E)),  PE(i, 2k+1) = cos(the same)
  tensor2tensor  [sin(i w_0) .. sin(i w_(E/2-1)), cos(i w_0) ..],  w_k = base^(-k / (E/2 - 1))
The spectra differ: tensor2tensor's last wavelength is 2 pi base, the paper's base^(2/E) times less.

scale_embedding multiplies token embeddings by sqrt(E) before the sum, as the paper (section 3.4),
tensor2tensor and fairseq do. lengthgen draws token embeddings from N(0, 0.02^2): unscaled they
would be 35 times smaller than a sinusoid of root mean square 0.71, and order would drown the words
at the start. Scaled they are 0.23 (E = 128) to 0.55 (E = 768). Deviation: the papers draw them with
standard deviation E^-0.5, which the factor brings to 1.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import choice, limit
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    form: str = "vaswani"  # vaswani | tensor2tensor
    base: float = 10000.0  # longest wavelength / 2 pi (in the paper's form, nearly)
    # multiply token embeddings by sqrt(width) first, as Vaswani et al. do
    scale_embedding: bool = True

    def __post_init__(self):
        choice("scheme.form", self.form, ("vaswani", "tensor2tensor"))
        limit(self, "scheme", "> 1", "base")


class Sinusoidal(Scheme):
    """sqrt(E) x + PE(position). No parameters."""

    Config: ClassVar[type] = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        self.check_even("model.width", dimensions.width)

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Vaswani et al., NeurIPS 2017, section 3.5",
            year=2017,
            acts_on="input",
            sharing="no parameters",
            prefix_consistent=True,
            shift_invariant=False,
            trained_reach=f"position {self.dimensions.train_length - 1}",
            tail="defined at any length; the vectors of later positions were never seen",
            oracles=("transformers", "x-transformers", "float64 loop"),
        )

    def code(self, positions: Tensor) -> Tensor:
        """PE (T, E) float32 of positions (T,)."""
        E, base = self.dimensions.width, self.config.base
        if self.config.form == "vaswani":
            return interleaved(positions, E, base).float()
        k = torch.arange(E // 2, device=positions.device, dtype=torch.float64)
        angles = positions.double()[:, None] * base ** -(k / max(E // 2 - 1, 1))
        return torch.cat((angles.sin(), angles.cos()), dim=-1).float()

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        if self.config.scale_embedding:
            x = x * self.dimensions.width**0.5
        return x + self.code(positions).to(x.dtype)


def interleaved(positions: Tensor, width: int, base: float) -> Tensor:
    """The paper's PE (..., E) float64 of positions (...)."""
    k = torch.arange(width // 2, device=positions.device, dtype=torch.float64)
    # In float32 an angle at position 8191 would be off by up to 5e-4 rad.
    angles = positions.double()[..., None] * base ** -(k / (width // 2))
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)
