"""The rotation taken out of every layer, or of every n-th: ALiBi's lines in its place, or nothing.

Source: nothing in every layer is DroPE (Gelberg et al. 2025, arXiv 2512.12167), which then trains
on: `lengthgen train from=... +retrofit=rotation_replaced`; nothing in every n-th is RNoPE (Yang et
al. 2025, arXiv 2501.18795), there in training. ALiBi: Press et al., ICLR 2022.
Formula: in layer l, from 0, with (l + 1) mod every = 0: score(i, j) = q_i . k_j / sqrt(D), less
m_h (i - j) where `by` is alibi (slopes m_h: schemes/alibi.py). Other layers are as trained.
Without further training both take away what the model has learnt to read positions by.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Toeplitz
from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes.alibi import slopes
from lengthgen.schemes.base import Declaration, Scheme
from lengthgen.schemes.rotary import Rotary

BY = ("nothing", "alibi")


@dataclass
class Config:
    by: str = "nothing"  # what is in its place: nothing | alibi
    every: int = 1  # layers every, 2 every, ... are changed, counted from 1
    max_bias: float = 8.0  # of ALiBi: the last slope is 2^-max_bias

    def __post_init__(self):
        choice("retrofit.by", self.by, BY)
        limit(self, "retrofit", "> 0", "every", "max_bias")


class RotationReplaced(Retrofit):
    Config = Config
    about = About(
        "Gelberg et al. (DroPE), arXiv 2512.12167; Yang et al. (RNoPE), arXiv 2501.18795",
        2025,
        "rotary schemes",
        ("float64 loop",),
    )

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        around = inner
        while isinstance(around, Retrofit):  # a model that was released with one
            around = around.inner
        if isinstance(around, Rotary):
            return None
        return (
            "retrofit rotation_replaced takes a rotation away: expected rope, rope_partial, "
            "p_rope, hope_period or fope itself"
        )

    def __init__(self, config, inner: Scheme):
        super().__init__(config, inner)
        n_layers = self.dimensions.n_layers
        check(
            config.every <= n_layers,
            f"retrofit.every={config.every}: the model has {n_layers} layers, so none would be "
            f"changed; expected at most {n_layers}",
        )

    @property
    def declaration(self) -> Declaration:
        inner = super().declaration
        if self.config.every > 1:
            return inner
        return replace(inner, prefix_consistent=True, shift_invariant=True)

    @property
    def tail(self) -> str:
        layers = "every layer" if self.config.every == 1 else f"every {self.config.every}th layer"
        place = "ALiBi's lines" if self.config.by == "alibi" else "nothing"
        rest = "" if self.config.every == 1 else f"; elsewhere {super().tail}"
        return f"{place} in place of the rotation in {layers}{rest}"

    @property
    def structure(self) -> str:
        return "toeplitz" if self.config.by == "alibi" else self.inner.structure

    @property
    def shares_bias_over_layers(self) -> bool:
        return self.config.every == 1

    def replaced(self, layer: int) -> bool:
        """Whether `layer` is one of the changed ones."""
        return (layer + 1) % self.config.every == 0

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return (q, k) if self.replaced(layer) else super().rotate(q, k, positions, layer)

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        steep = slopes(self.dimensions.n_heads, self.config.max_bias, offsets.device)
        return -steep[:, None] * offsets.float() * float(self.replaced(layer))

    def biases(self, positions: Tensor) -> list[Bias | None]:
        layers = range(self.dimensions.n_layers)
        if self.config.by == "nothing":
            return [None for _ in layers]
        offsets = torch.arange(positions.numel(), device=positions.device)
        lines = Toeplitz(self._checked_vector(offsets, self.config.every - 1))
        return [lines if self.replaced(layer) else None for layer in layers]
