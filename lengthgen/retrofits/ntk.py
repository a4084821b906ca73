"""NTK-aware scaling: a larger base; the slowest pair is slowed by a factor, the fastest not.

Source: bloc97, "NTK-aware scaled RoPE" (2023); formula as in Peng et al., YaRN (arXiv 2309.00071),
definition 1.
Formula: base' = base alpha^(R / (R - 2)), R the rotated channels (not the head, under partial
rotation); pair k then turns at base^(-2k/R) alpha^(-2k / (R - 2)): the last pair, k = R/2 - 1,
exactly alpha times slower. alpha 4 at R = 64 makes 10,000 into 41,829.
alpha = evaluated length / train_length where it is null, or `base` is given outright.

Only the last pair is slowed by the whole alpha; others leave their trained range before the window
ends, so for s times the length alpha is usually taken above s.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import check, limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Respaced


@dataclass
class Config:
    # how much slower the slowest pair turns; null: window / train_length, at least 1
    alpha: float | None = None
    base: float | None = None  # the new base itself, in place of alpha

    def __post_init__(self):
        limit(self, "retrofit", ">= 1", "alpha")
        limit(self, "retrofit", "> 1", "base")
        check(
            self.alpha is None or self.base is None,
            f"retrofit.alpha={self.alpha}, retrofit.base={self.base}: expected one of them",
        )


class NTK(Respaced):
    Config = Config
    about = About(
        "bloc97, 2023; Peng et al., arXiv 2309.00071, definition 1",
        2023,
        "rotary schemes",
        ("x-transformers", "float64 loop"),
    )
    least_pairs = 2

    @property
    def fixed_factor(self) -> float | None:
        return self.config.alpha

    @property
    def follows_length(self) -> bool:
        return super().follows_length and self.config.base is None

    @property
    def change(self) -> str:
        if self.config.base is not None:
            return f"base {self.config.base:g}"
        return f"base for {'alpha = ' if self.config.alpha else ''}{self.factor_in_words}"

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        spectrum, base = self.trained.spectrum, self.config.base
        if base is None:
            return spectrum.slowed(self.factor(length)).frequencies(device)
        return replace(spectrum, base=base).frequencies(device)
