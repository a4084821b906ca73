"""An ablation: pairs that never complete a turn in training are stopped.

Source: no canonical paper; HoPE (arXiv 2410.21216) and FoPE (arXiv 2412.17739) make this cut in
training. Liu et al. (arXiv 2310.05209) show that these pairs meet unseen angles beyond the training
length.
Formula: pair k keeps its frequency f_k if its period 2 pi / f_k is at most `period`, else it gets
0; period = train_length if null.
If this lowers the loss beyond the training length, unseen angles were a cause; the loss within it
says what position these pairs carried. On hope_period nothing changes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Respaced


@dataclass
class Config:
    # tokens in which a pair must complete a turn to be kept; null: train_length
    period: float | None = None

    def __post_init__(self):
        limit(self, "retrofit", "> 0", "period")


class RoPEZeroSlow(Respaced):
    Config = Config
    about = About(
        "no canonical paper; cf. Liu et al., arXiv 2310.05209",
        2023,
        "rotary schemes",
        ("transformers", "float64 loop"),
    )

    @property
    def follows_length(self) -> bool:
        return False

    @property
    def change(self) -> str:
        return f"pairs of periods past {self.period:g} tokens stopped"

    @property
    def period(self) -> float:
        """Tokens."""
        return self.config.period or self.dimensions.train_length

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        frequencies = self.trained.spectrum.frequencies(device)
        return torch.where(self.period * frequencies >= 2 * math.pi, frequencies, 0.0)
