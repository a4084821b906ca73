"""The length-normalised sinusoid: pe(i) = sin(2 pi (i - 1) / (2 seq_len)).

Source: no paper; a form that circulates, offered for length generalisation. i is counted from 1 and
seq_len is the length T of the window at hand: the window is half a turn. `turns`, 0.5 here, is how
many turns it is: pe(i) = sin(2 pi turns (i - 1) / T); turns=1 is sin(2 pi (i - 1) / seq_len).
Formula, x token embeddings (B, T, E), in three forms:
  scalar     x + pe(i) on all channels: the formula to the letter. LayerNorm before attention
             subtracts the mean over channels, and so pe: the model is NoPE (RMSNorm keeps it)
  direction  (default) x + pe(i) u, u (E,) learned, N(0, 0.02^2) at the start as token embeddings
  harmonics  PE(i, 2k-2) = sin(2 pi turns k (i - 1) / T), PE(i, 2k-1) = cos(the same),
             k = 1..E/2: Vaswani's shape with the period T / turns, for a like-for-like comparison.
             k > T / (2 turns) aliases
The codes dilate with the window: with n = i - 1, pe_rT(r n) = pe_T(n). So every position's code but
the first's changes when tokens are appended: not prefix-consistent, and in an autoregressive model
the window's length is information from the future. Neighbours differ by 2 pi turns / T at most.
scalar and direction cannot tell all positions apart: with half a turn the codes are in [0, 1] and
symmetric about the middle, i and T + 2 - i collide; with a whole turn i and T/2 + 2 - i do.
scale_embedding acts in harmonics alone, for the reason given in sinusoidal.py.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import choice, limit
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


@dataclass
class Config:
    # scalar (erased by LayerNorm) | direction (learned) | harmonics (k = 1..width/2)
    form: str = "direction"
    turns: float = 0.5  # of the sine over a window: 0.5 as circulates, 2 seq_len; 1: seq_len
    scale_embedding: bool = True  # harmonics: multiply token embeddings by sqrt(width) first
    init_std: float = 0.02  # direction: standard deviation at the start, that of token embeddings

    BEFORE: ClassVar[dict[str, Any]] = {"turns": 1.0}

    def __post_init__(self):
        choice("scheme.form", self.form, ("scalar", "direction", "harmonics"))
        limit(self, "scheme", "> 0", "turns")
        limit(self, "scheme", ">= 0", "init_std")


class NormalisedSinusoid(Scheme):
    """x + code((i - 1) / T). direction: (E,) float32, in the form of that name only."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        if config.form == "direction":
            self.direction = nn.Parameter(torch.zeros(dimensions.width))

    @property
    def declaration(self) -> Declaration:
        length = self.dimensions.train_length
        return Declaration(
            paper="no paper: sin(2 pi (i - 1) / (2 seq_len)), after Vaswani et al., NeurIPS 2017",
            year=2017,
            acts_on="input",
            sharing="enters once, serves all layers and heads",
            prefix_consistent=False,
            shift_invariant=False,
            trained_reach=f"{self.config.turns * (1 - 1 / length):.4g} of a turn, "
            f"in {length} positions",
            tail=f"defined at any length: {self.config.turns:g} of a turn is stretched over the "
            "window; codes between the trained ones",
            oracles=("numpy.fft", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        if self.config.form == "direction":
            self.direction.normal_(0.0, self.config.init_std, generator=generator_for("direction"))

    def positions(self, length: int, device: torch.device) -> Tensor:
        """Shares of the window (i - 1) / T in [0, 1), float32 (T,)."""
        return (torch.arange(length, device=device, dtype=torch.float64) / length).float()

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        angle = 2 * math.pi * self.config.turns * positions.double()[:, None]
        if self.config.form == "direction":
            return x + (angle.sin().float() * self.direction).to(x.dtype)
        if self.config.form == "scalar":
            return x + angle.sin().to(x.dtype)
        if self.config.scale_embedding:
            x = x * self.dimensions.width**0.5
        angles = angle * torch.arange(1, self.dimensions.width // 2 + 1, device=x.device)
        return x + torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).to(x.dtype)
