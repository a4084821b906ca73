"""Log-n scaling in training: scores times ln n / ln L, against attention's spread over more keys.

Source: Chiang and Cholak (ACL 2022), who multiply by log n; Su (2021) divides by the logarithm of
the training length.
Formula: a_i = softmax(ln n_i / ln L (q_i . k_j scale + bias(i, j))), n_i the keys that query i
sees, L the training length: 1 for the last query of a training window, less before it, more past
it. `clip` gives max(1, ...), as the retrofit log_n always does. The sources have no bias; `scales`
says which part the factor multiplies (scaling.py).
"""

from dataclasses import dataclass

from torch import Tensor

from lengthgen.config.dataclass_from import choice, limit
from lengthgen.config.plugins import About
from lengthgen.modifiers.base import Modifier
from lengthgen.modifiers.scaling import SCALES, Scaled, log_n


@dataclass
class Config:
    length: int | None = None  # L, where the factor is 1; null: train_length
    clip: bool = False  # never a factor below 1
    scales: str = "all"  # what the factor multiplies: all | scores (q.k) | bias (of the scheme)

    def __post_init__(self):
        choice("modifiers.log_n.scales", self.scales, SCALES)
        limit(self, "modifiers.log_n", "> 1", "length")


class LogN(Scaled, Modifier):
    Config = Config
    about = About("Chiang and Cholak, ACL 2022; Su, 2021", 2022, "any scheme", ("float64 loop",))
    stage = 3

    @property
    def tail(self) -> str:
        return f"{super().tail}; scores times ln n / ln L, whatever n"

    def factor(self, n: Tensor, layer: int) -> Tensor:
        factor = log_n(n, self.config.length or self.dimensions.train_length)
        return (factor.clamp(min=1) if self.config.clip else factor)[None]
