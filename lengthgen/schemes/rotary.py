"""Rotation of queries and keys by their position: frequencies, angles, and the turning of pairs of channels in both layouts.

A leaf, shared by the rotary schemes and by the retrofits that change their frequencies after training.

Formula: of R channels (all of a head, or a part of it), pair k of the R/2 pairs is turned by the angle i * base^(-2k/R) at position i.
Source: Su et al., "RoFormer" (arXiv 2104.09864, Neurocomputing 2024), equations 14, 15 and 34.
Layouts: `interleaved` pairs channels (2k, 2k+1), as the paper, GPT-J and Meta's Llama; `half_split` pairs (k, k + R/2), as GPT-NeoX
and Hugging Face's Llama. Equal up to a fixed permutation of the rows of W_q and W_k, so irrelevant when training from scratch.

Angles in float64, cosines and sines in float32 (float64 for float64 queries), whatever the dtype of q: angles in bfloat16 are off by
0.6 rad at position 512 (the trap of gpt-neox#1003 and many others). Nothing is cached: no length changes another's numbers.

Shape letters: B batch, T positions, H heads, D head size, R channels that the pairs are made of, P pairs (R/2).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

LAYOUTS = ("interleaved", "half_split")


@dataclass(frozen=True)
class Spectrum:
    """The frequencies of a rotary scheme: of the geometric series over `channels`, the fastest `kept` turn, and the others stand still."""

    base: float
    channels: int  # R, even
    kept: int  # 0..R/2

    def frequencies(self, device: torch.device) -> Tensor:
        """(P,) float64 radians a position, falling; 0 from pair `kept` on."""
        k = torch.arange(self.channels // 2, device=device, dtype=torch.float64)
        return torch.where(k < self.kept, self.base ** (-2 * k / self.channels), 0.0)

    def slowed(self, factor: float) -> "Spectrum":
        """The same with the base that makes the last pair `factor` times slower: base factor^(R / (R - 2)). R >= 4."""
        return dataclasses.replace(
            self, base=self.base * factor ** (self.channels / (self.channels - 2))
        )


@runtime_checkable
class Rotary(Protocol):
    """A scheme whose frequencies can be changed after training: all that the rotary retrofits know of it."""

    @property
    def spectrum(self) -> Spectrum:
        """The frequencies that it was trained with."""

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor, layer: int) -> Tensor:
        """Queries or keys x (B, H, T, D) turned by the angles whose cosines and sines (T, P) are given, in x's dtype."""


def within(base: float, channels: int, length: float) -> int:
    """How many pairs complete at least one turn in `length` positions: those whose period, 2 pi base^(2k/R), is at most `length`."""
    return sum(2 * math.pi * base ** (2 * k / channels) <= length for k in range(channels // 2))


def angles(positions: Tensor, frequencies: Tensor) -> Tensor:
    """(T, P) float64 radians of positions (T,), integers or floats, at frequencies (P,)."""
    return positions.double()[:, None] * frequencies


def waves(angles: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of float64 angles, for queries of `dtype`: float64 if that is, else float32."""
    exact = torch.double if dtype == torch.float64 else torch.float
    return angles.cos().to(exact), angles.sin().to(exact)


def rotate(
    scheme: Rotary, q: Tensor, k: Tensor, angles: Tensor, layer: int
) -> tuple[Tensor, Tensor]:
    """Queries and keys (B, H, T, D), turned by `scheme` through angles (T, P)."""
    cos, sin = waves(angles, q.dtype)
    return scheme.turn(q, cos, sin, layer), scheme.turn(k, cos, sin, layer)


def turned(x: Tensor, cos: Tensor, sin: Tensor, layout: str) -> Tensor:
    """x (B, H, T, R), its pairs turned and stretched as one complex product with cos + i sin, (T, P) or (H, T, P); in x's dtype."""
    turn = _interleaved if layout == "interleaved" else _half_split
    return turn(x.to(cos.dtype), cos, sin).to(x.dtype)


def _interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(x_2k + i x_2k+1) (cos + i sin): one complex product, three times faster in eager mode than four real ones."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.complex(cos, sin)).flatten(-2)


def _half_split(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same with pairs (x_k, x_(k + R/2))."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)
