"""The ill-trained end of a distance bias replaced by the mean of its last well-exposed values.

Source: no canonical paper; a repair of T5's and per-offset tables. Offset n occurs L - n times in a
training window of L tokens: values for offsets near L got few gradients and those past it none, and
these few may be all that fails beyond L. Average 1 clamps the offset (the YAML t5_clamp).
Formula: bias'(h, n) = bias(h, n) for n < E, else the mean of bias(h, E - A) .. bias(h, E - 1).
E = 3/4 L, unless given: every value that is kept then occurred at least L / 4 times in each window.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import check, limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes.base import Scheme
from lengthgen.schemes.wrapper import Wrapper


@dataclass
class Config:
    exposed: int | None = None  # E: offsets below it are kept; null: 3/4 train_length
    average: int = 16  # A: so many values before E are averaged

    def __post_init__(self):
        limit(self, "retrofit", "> 0", "exposed", "average")


class TailMean(Retrofit):
    """One value a head from offset E on."""

    Config = Config
    about = About(
        "Raffel et al., JMLR 2020, with the last values shared; no canonical paper",
        2020,
        "biases of the offset",
        ("float64 loop",),
    )

    def __init__(self, config, inner: Scheme):
        super().__init__(config, inner)
        self.exposed = config.exposed or 3 * self.dimensions.train_length // 4
        check(
            config.average <= self.exposed,
            f"retrofit.average={config.average}:"
            f" expected at most the {self.exposed} offsets that are kept",
        )

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        if inner.structure == "toeplitz" and not isinstance(inner, Wrapper):
            return None
        return (
            "retrofit tail_mean repairs a score bias that is a function of the offset alone,"
            " and the run was trained without one"
        )

    @property
    def tail(self) -> str:
        A = self.config.average
        value = f"the mean of the last {A} values" if A > 1 else "the last value"
        return f"from offset {self.exposed} on {value} before it"

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        last = torch.arange(self.exposed - self.config.average, self.exposed, device=offsets.device)
        tail = self.inner.toeplitz(last, layer).mean(1, keepdim=True)
        return torch.where(offsets < self.exposed, self.inner.toeplitz(offsets, layer), tail)
