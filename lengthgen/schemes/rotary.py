"""Rotating queries and keys by their position: what rotary schemes and their retrofits share.

Formula: of R channels (all of a head, or a part of it) pair k of the R/2 pairs is turned by the
angle i base^(-2k/R) at position i.
Source: Su et al., "RoFormer" (arXiv 2104.09864, Neurocomputing 2024), equations 14, 15 and 34.
Layouts: `interleaved` pairs channels (2k, 2k+1), as the paper, GPT-J and Meta's Llama; `half_split`
pairs (k, k + R/2), as GPT-NeoX and Hugging Face's Llama. They are equal up to a permutation of the
rows of W_q and W_k, so the choice does not matter when training from scratch.

Angles are float64, cosines and sines float32 (float64 for float64 queries): angles in bfloat16 are
off by 0.6 rad at position 512 (gpt-neox#1003 and many others).
Shape letters: B sequences, T tokens, H heads, D head size, R channels that form pairs, P = R/2.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lengthgen.schemes.base import Dimensions, Scheme

LAYOUTS = ("interleaved", "half_split")


@dataclass(frozen=True)
class Spectrum:
    """Frequencies over `channels`: the fastest `kept` pairs turn, the others do not."""

    base: float
    channels: int  # R, even
    kept: int  # 0..R/2

    def frequencies(self, device: torch.device) -> Tensor:
        """(P,) float64 radians a position, decreasing; 0 from pair `kept` on."""
        k = torch.arange(self.channels // 2, device=device, dtype=torch.float64)
        return torch.where(k < self.kept, self.base ** (-2 * k / self.channels), 0.0)

    def slowed(self, factor: float) -> "Spectrum":
        """The last pair `factor` times slower, by the base factor^(R / (R - 2)) base. R >= 4."""
        base = self.base * factor ** (self.channels / (self.channels - 2))
        return dataclasses.replace(self, base=base)


@runtime_checkable
class Rotary(Protocol):
    """A scheme whose frequencies can be changed after training, as rotary retrofits do."""

    @property
    def spectrum(self) -> Spectrum:
        """The frequencies that it was trained with."""

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor, layer: int) -> Tensor:
        """x (B, H, T, D) turned by the angles with these cosines and sines (T, P), in x's dtype."""


class RotaryScheme(Scheme):
    """Rotates q and k (B, H, T, D) by their position, at the frequencies of `spectrum`."""

    def __init__(self, config, dimensions: Dimensions):
        super().__init__(config, dimensions)
        self.check_even("model.width / n_heads", self.spectrum.channels)

    @property
    def spectrum(self) -> Spectrum:
        D = self.dimensions.head_dim
        return Spectrum(self.config.base, channels=D, kept=D // 2)

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor, layer: int) -> Tensor:
        return turned(x, cos, sin, self.config.layout)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        frequencies = self.spectrum.frequencies(positions.device)
        return rotate(self, q, k, angles(positions, frequencies), layer)


def within(base: float, channels: int, length: float) -> int:
    """How many pairs have a period 2 pi base^(2k/R) of at most `length` positions."""
    return sum(2 * math.pi * base ** (2 * k / channels) <= length for k in range(channels // 2))


def angles(positions: Tensor, frequencies: Tensor) -> Tensor:
    """(T, P) float64 radians of positions (T,) at frequencies (P,)."""
    return positions.double()[:, None] * frequencies


def waves(angles: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of float64 angles: float64 if `dtype` is, else float32."""
    exact = torch.double if dtype == torch.float64 else torch.float
    if torch.compiler.is_compiling() and not angles.requires_grad:
        return kept_waves(angles, exact)
    return angles.cos().to(exact), angles.sin().to(exact)


# A compiler would fuse powers, cosines and sines in float64 into every kernel that multiplies by
# them: once for each element of q and k, forward and backward, instead of once for each angle.
@torch.library.custom_op("lengthgen::waves", mutates_args=())
def kept_waves(angles: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """`waves` as one call, into which torch.compile does not look."""
    return angles.cos().to(dtype), angles.sin().to(dtype)


@kept_waves.register_fake
def _(angles: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return angles.new_empty(angles.shape, dtype=dtype), angles.new_empty(angles.shape, dtype=dtype)


def rotate(
    scheme: Rotary, q: Tensor, k: Tensor, angles: Tensor, layer: int
) -> tuple[Tensor, Tensor]:
    """q and k (B, H, T, D) turned by `scheme` through angles (T, P)."""
    cos, sin = waves(angles, q.dtype)
    return scheme.turn(q, cos, sin, layer), scheme.turn(k, cos, sin, layer)


def turned(x: Tensor, cos: Tensor, sin: Tensor, layout: str) -> Tensor:
    """The pairs of x (B, H, T, R) times cos + i sin, (T, P) or (H, T, P), in x's dtype."""
    turn = _interleaved if layout == "interleaved" else _half_split
    return turn(x.to(cos.dtype), cos, sin).to(x.dtype)


def _interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    pairs = x.unflatten(-1, (-1, 2))
    # One complex product is three times faster in eager mode on a CPU than four real ones; a
    # compiler has no code for complex numbers, and fuses the real ones with what stands around.
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        product = torch.view_as_complex(pairs) * torch.complex(cos, sin)
        return torch.view_as_real(product).flatten(-2)
    a, b = pairs.unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


def _half_split(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)
