"""NTK-aware scaling: a larger base, which slows the slowest pair by a factor, the fastest not at all, and those between in between.

Source: bloc97, "NTK-aware scaled RoPE" (2023); formula as in Peng et al., YaRN (arXiv 2309.00071), definition 1.
Formula: base' = base alpha^(R / (R - 2)), R the rotated channels; pair k then turns at base^(-2k/R) alpha^(-2k / (R - 2)): the last
pair, k = R/2 - 1, exactly alpha times slower. alpha 4 at R = 64 makes 10,000 into 41,829.
alpha = evaluated length / train_length where it is null (then logits depend on how long the whole window is), or `base` is given outright.

Traps: the exponent is R / (R - 2), not 1, and R is what is rotated, not the head, under partial rotation. No pair but the last is slowed
by the whole alpha, so some leave their trained range before the window ends: for s times the length alpha is usually taken above s.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config import dataclass_from
from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Respaced


@dataclass
class Config:
    alpha: float | None = (
        None  # how much slower the slowest pair turns; null: window / train_length, at least 1
    )
    base: float | None = None  # the new base itself, in place of alpha

    def __post_init__(self):
        dataclass_from.check(
            self.alpha is None or self.alpha >= 1,
            f"retrofit.alpha={self.alpha}: expected a number >= 1 or null",
        )
        dataclass_from.check(
            self.base is None or self.base > 1,
            f"retrofit.base={self.base}: expected a number > 1 or null",
        )
        dataclass_from.check(
            self.alpha is None or self.base is None,
            f"retrofit.alpha={self.alpha}, retrofit.base={self.base}: expected one of them",
        )


class NTK(Respaced):
    """Changes the base."""

    Config = Config
    about = About(
        "bloc97, 2023; Peng et al., arXiv 2309.00071, definition 1",
        2023,
        "rotary schemes",
        ("x-transformers", "float64 loop"),
    )
    least_pairs = 2

    @property
    def follows_length(self) -> bool:
        return self.config.alpha is None and self.config.base is None

    @property
    def change(self) -> str:
        if self.config.base is not None:
            return f"base {self.config.base:g}"
        return "base for " + (
            "window / train_length"
            if self.config.alpha is None
            else f"alpha = {self.config.alpha:g}"
        )

    def factor(self, length: int) -> float:
        return (
            max(1.0, length / self.dimensions.train_length)
            if self.config.alpha is None
            else self.config.alpha
        )

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        spectrum, base = self.inner.spectrum, self.config.base
        changed = (
            spectrum.slowed(self.factor(length))
            if base is None
            else dataclasses.replace(spectrum, base=base)
        )
        return changed.frequencies(device)
