"""The last trained value of a bias table drawn anew: a destructive control.

Source: no canonical paper; a lesion. If a model holds beyond its training length because far
offsets share one well-trained value, then drawing that value anew must break it, and drawing one
that is never read must not.
Formula: bias'(h, n) = m_h + s_h e_h for n >= S, m_h and s_h the mean and standard deviation of
bias(h, 0) .. bias(h, S - 1), e_h a standard normal draw from `seed` for each head (and layer, where
each has its own table). S = `start`, or where the table's last value begins.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes.base import Scheme
from lengthgen.schemes.per_offset import PerOffset
from lengthgen.schemes.t5_bias import T5Bias


@dataclass
class Config:
    # S: offsets from it on read the new value; null: where the table's last value begins
    start: int | None = None
    seed: int = 0  # of the new values

    def __post_init__(self):
        limit(self, "retrofit", "> 1", "start")


class TailRandom(Retrofit):
    """One new value a head (and layer) from offset S on."""

    Config = Config
    about = About("a lesion; no canonical paper", 2020, "t5_bias, per_offset", ("float64 loop",))

    def __init__(self, config, inner: T5Bias | PerOffset):
        super().__init__(config, inner)
        last = inner.last_bucket_start if isinstance(inner, T5Bias) else inner.size - 1
        self.start = config.start or last

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        if isinstance(inner, T5Bias | PerOffset):
            return None
        return (
            "retrofit tail_random draws the last value of a bias table anew,"
            " and the run was trained without one"
        )

    @property
    def tail(self) -> str:
        return f"from offset {self.start} on a value drawn at random, for each head"

    def drawn(self, layer: int) -> Tensor:
        """Standard normal draws (H, 1), the same at every call; float32 on the CPU."""
        # Layers that share a table share its draw; on the CPU, every device gets the same ones.
        layer = 0 if self.shares_bias_over_layers else layer
        seed = self.config.seed * self.dimensions.n_layers + layer
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.dimensions.n_heads, 1, generator=generator)

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        near = self.inner.toeplitz(torch.arange(self.start, device=offsets.device), layer)
        std, mean = torch.std_mean(near, dim=1, keepdim=True)
        tail = mean + std * self.drawn(layer).to(near)
        return torch.where(offsets < self.start, self.inner.toeplitz(offsets, layer), tail)
