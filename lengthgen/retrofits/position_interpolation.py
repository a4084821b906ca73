"""Position interpolation: positions divided by how much longer the input is, so that no offset exceeds the trained ones.

Source: Chen et al., "Extending context window of large language models via positional interpolation" (arXiv 2306.15595, 2023), equation
4; found at the same time by kaiokendev.
Formula: position i is read as i / s, which is RoPE with every frequency divided by s.
s = `factor`, or the evaluated length / train_length where that is null; then windows within the training length are left alone, and logits
depend on how long the whole window is.

Without fine-tuning, which the paper does and a retrofit here never does, near offsets suffer: they are read between trained ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Respaced, check_factor


@dataclass
class Config:
    factor: float | None = (
        None  # s: positions are divided by it; null: window / train_length, at least 1
    )

    def __post_init__(self):
        check_factor(self.factor)


class PositionInterpolation(Respaced):
    """Divides all frequencies by one number."""

    Config = Config
    about = About(
        "Chen et al., arXiv 2306.15595, eq. 4",
        2023,
        "rotary schemes",
        ("transformers", "x-transformers", "float64 loop"),
    )

    @property
    def change(self) -> str:
        return f"positions divided by {self.lengthened}"

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        return self.inner.spectrum.frequencies(device) / self.factor(length)
