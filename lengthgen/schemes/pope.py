"""PoPE: polar coordinate position embedding. Content gives a channel's length, position its angle.

Source: Gopalakrishnan et al., "Decoupling the what and where with polar coordinate positional
embeddings" (arXiv 2509.10534); details from lucidrains' PoPE-pytorch and x-transformers (we found
no code of the authors).
Formula: score(i, j) = sum_c softplus(q_ic) softplus(k_jc) cos((j - i) w_c + d[h, c]) / sqrt(D),
c = 0..D-1, w_c = base^(-c/D), with a learned shift d per head and channel, limited to [-2 pi, 0].
Every channel has its own frequency, twice as many as RoPE's pairs, and becomes two channels:
queries and keys are 2D wide. In RoPE content has a share in the angle; here it cannot move a peak.

d starts at 0, as in the paper for length generalisation, or uniformly in its range (init). 0 is the
edge of the range: a shift that a step takes across it stays there without a gradient. clamp=false
drops the limit and loses nothing, as the cosine is periodic.
Our choice: a table for each layer; x-transformers has one for all (per_layer=false).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lengthgen.config.dataclass_from import choice, limit
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


@dataclass
class Config:
    base: float = 10000.0  # theta: channel c has the wavelength 2 pi base^(c/D)
    init: str = "zero"  # first values of the shifts: zero | uniform in [-2 pi, 0]
    clamp: bool = True  # hold the shifts in [-2 pi, 0], as the paper does
    per_layer: bool = True  # shifts for each layer; false: one table for all

    def __post_init__(self):
        limit(self, "scheme", "> 1", "base")
        choice("scheme.init", self.init, ("zero", "uniform"))


class PoPE(Scheme):
    """q, k (B, H, T, D) -> (B, H, T, 2D). shift: (n_layers or 1, H, D) float32, radians."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        tables = dimensions.n_layers if config.per_layer else 1
        self.shift = nn.Parameter(torch.zeros(tables, dimensions.n_heads, dimensions.head_dim))

    @property
    def declaration(self) -> Declaration:
        D, reach = self.dimensions.head_dim, self.dimensions.train_length
        finished = rotary.within(self.config.base, 2 * D, reach)
        return Declaration(
            paper="Gopalakrishnan et al., arXiv 2509.10534",
            year=2025,
            acts_on="queries and keys",
            sharing="a shift per head and channel, "
            + ("in every layer its own" if self.config.per_layer else "one table for all layers"),
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {reach - 1}; {finished} of {D} channels complete a turn",
            tail="defined at any length; unseen angles of the slow channels",
            oracles=("x-transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        if self.config.init == "zero":
            self.shift.zero_()
        else:
            self.shift.uniform_(-2 * math.pi, 0.0, generator=generator_for("shift"))

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        D = self.dimensions.head_dim
        spectrum = rotary.Spectrum(self.config.base, channels=2 * D, kept=D)
        angles = rotary.angles(positions, spectrum.frequencies(positions.device))
        shift = self.shift[layer if self.config.per_layer else 0]
        if self.config.clamp:
            shift = shift.clamp(-2 * math.pi, 0.0)
        return _polar(q, angles), _polar(k, angles + shift.double()[:, None])


def _polar(x: Tensor, angles: Tensor) -> Tensor:
    """x (B, H, T, D) times cosines, then sines, of angles (T, D) or (H, T, D): (B, H, T, 2D)."""
    cos, sin = rotary.waves(angles, x.dtype)
    size = functional.softplus(x.to(cos.dtype))
    return torch.cat((size * cos, size * sin), dim=-1).to(x.dtype)
