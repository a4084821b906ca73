"""Llama 3.1's scaling: slow pairs as in position interpolation, fast ones as trained.

Source: Llama 3.1 (Grattafiori et al., arXiv 2407.21783), meta-llama/llama-models,
models/llama3/model.py:apply_scaling.
Formula: with L the training length and w_k = 2 pi / f_k the wavelength of pair k, f'_k = f_k / s
where w_k > L / low, f_k where w_k < L / high, and (1 - t) f_k / s + t f_k between, with
t = (L / w_k - low) / (high - low). Published with low 1, high 4, s = 8 and L = 8192.
s = `factor`, or evaluated length / train_length where it is null.

It is NTK-by-parts with the ramp in rotations from 1 to 4 instead of 1 to 32, and no temperature.
Meta fine-tunes afterwards; a retrofit does not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import check, limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Respaced, ramp_by_turns


@dataclass
class Config:
    # s: slow pairs are slowed by it; null: window / train_length, at least 1
    factor: float | None = None
    low: float = 1.0  # pairs of fewer turns in the training length are slowed by the whole factor
    high: float = 4.0  # pairs of more turns are left alone

    def __post_init__(self):
        limit(self, "retrofit", ">= 1", "factor")
        check(
            0 < self.low < self.high,
            f"retrofit.low={self.low}, retrofit.high={self.high}: expected 0 < low < high",
        )


class Llama3(Respaced):
    Config = Config
    about = About(
        "Grattafiori et al., arXiv 2407.21783; apply_scaling",
        2024,
        "rotary schemes",
        ("transformers", "float64 loop"),
    )

    @property
    def change(self) -> str:
        return (
            f"pairs of fewer than {self.config.high:g} turns slowed by up to {self.factor_in_words}"
        )

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        spectrum, L = self.trained.spectrum, self.dimensions.train_length
        kept = ramp_by_turns(spectrum, L, self.config.low, self.config.high, device)
        return self._partly_slowed(kept, length)
