"""ReRoPE and Leaky ReRoPE: offsets past a window are read as the window's, or grow more slowly.

Source: Su, "Rectified rotary position embeddings" (2023, github.com/bojone/rerope), patches rerope
and leaky_rerope.
Formula: score(i, j) = q_i . R(n) k_j / sqrt(D), R(n) the rotation by offset n, with n = i - j where
i - j < w, and n = w + (i - j - w) a otherwise. a = `interval`: 0 is ReRoPE, 1/16 Leaky ReRoPE.
Far queries are turned to (i - w) a + w and far keys to j a. With log_n scores are also multiplied
by max(1, ln(i + 1) / ln L), L the training length, as in the released code.
w = `window`, train_length / 2 where it is null: offsets near L are rare in training. Windows of at
most w tokens are left alone; longer ones within the training length are not.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.attention.two_distances import TwoDistances
from lengthgen.config.dataclass_from import check, limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Regrouped


@dataclass
class Config:
    window: int | None = None  # w: offsets below it are kept; null: train_length / 2
    # a: how fast offsets grow past the window; 0: ReRoPE, 1/16: Leaky ReRoPE, 1: RoPE
    interval: float = 0.0
    # multiply scores by max(1, ln(i + 1) / ln train_length), as the released code does
    log_n: bool = True

    def __post_init__(self):
        limit(self, "retrofit", "> 0", "window")
        check(
            0 <= self.interval <= 1,
            f"retrofit.interval={self.interval}: expected 0 <= interval <= 1",
        )


class ReRoPE(Regrouped):
    Config = Config
    about = About(
        "Su, 2023, bojone/rerope",
        2023,
        "rotary schemes of offsets alone",
        ("transformers", "float64 loop"),
    )

    @property
    def window(self) -> int:
        return self.config.window or self.dimensions.train_length // 2

    @property
    def tail(self) -> str:
        interval = self.config.interval
        past = f"grow by {interval:g} a token" if interval else f"are read as {self.window}"
        scaled = "; scores times ln n / ln L" if self.config.log_n else ""
        return f"offsets from {self.window} on {past}{scaled}"

    def far(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        places, a = positions.double(), self.config.interval
        return (places - self.window) * a + self.window, places * a

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        if self.config.log_n:
            q = q * self._factor(q, first)
        return super().logits(q, k, x, positions, layer, first)

    def two_distances(
        self, q: Tensor, k: Tensor, positions: Tensor, layer: int, first: int
    ) -> TwoDistances | None:
        pairs = super().two_distances(q, k, positions, layer, first)
        return pairs.times(self._factor(q, first)) if pairs and self.config.log_n else pairs

    def _factor(self, q: Tensor, first: int) -> Tensor:
        """(R, 1): log-n factors of the queries first..first+R-1."""
        n = torch.arange(first + 1, first + 1 + q.shape[2], device=q.device).to(q.dtype)
        return (n.log() / math.log(self.dimensions.train_length)).clamp(min=1)[:, None]
