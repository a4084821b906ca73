"""Log-n scaling of a trained model: scores times ln n / ln L for queries that see n > L keys.

Source: Chiang and Cholak (ACL 2022); Su (2021), clipped at 1 as bojone/rerope does for models
trained without it.
Formula: a_i = softmax(max(1, ln n_i / ln L) (q_i . k_j scale + bias(i, j))), n_i the keys that
query i sees, L the training length. For L = 512 the factor is 1.11 at 2 L, 1.22 at 4 L and 1.33 at
8 L. The sources have no bias; where a scheme has one, attention may be as sharp by the bias as by
q.k, so both are multiplied unless `scales` says otherwise (modifiers/scaling.py).
A query within the training length is left as it is: beyond L only the spread of attention over more
keys changes.
"""

from dataclasses import dataclass

from torch import Tensor

from lengthgen.config.dataclass_from import choice, limit
from lengthgen.config.plugins import About
from lengthgen.modifiers.scaling import SCALES, Scaled, log_n
from lengthgen.retrofits.base import Retrofit


@dataclass
class Config:
    length: int | None = None  # L, from which on scores are scaled; null: train_length
    scales: str = "all"  # what the factor multiplies: all | scores (q.k) | bias (of the scheme)

    def __post_init__(self):
        choice("retrofit.scales", self.scales, SCALES)
        limit(self, "retrofit", "> 1", "length")


class ClippedLogN(Scaled, Retrofit):
    Config = Config
    about = About("Chiang and Cholak, ACL 2022; Su, 2021", 2022, "any scheme", ("float64 loop",))

    @property
    def tail(self) -> str:
        return f"{super().tail}; scores times ln n / ln L"

    def factor(self, n: Tensor, layer: int) -> Tensor:
        L = self.config.length or self.dimensions.train_length
        return log_n(n, L).clamp(min=1)[None]
