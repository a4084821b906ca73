"""Position interpolation: positions divided by how much longer the input is than in training.

Source: Chen et al., "Extending context window of large language models via positional
interpolation" (arXiv 2306.15595, 2023), equation 4; found at the same time by kaiokendev.
Formula: position i is read as i / s, which is RoPE with every frequency divided by s.
s = `factor`, or evaluated length / train_length, at least 1, where it is null.

Without the paper's fine-tuning near offsets suffer: they are read between trained ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Respaced


@dataclass
class Config:
    # s: positions are divided by it; null: window / train_length, at least 1
    factor: float | None = None

    def __post_init__(self):
        limit(self, "retrofit", ">= 1", "factor")


class PositionInterpolation(Respaced):
    Config = Config
    about = About(
        "Chen et al., arXiv 2306.15595, eq. 4",
        2023,
        "rotary schemes",
        ("transformers", "x-transformers", "float64 loop"),
    )

    @property
    def change(self) -> str:
        return f"positions divided by {self.factor_in_words}"

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        return self.trained.spectrum.frequencies(device) / self.factor(length)
