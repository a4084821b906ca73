"""SSMax: scores times s ln n, s learned for each head and layer: attention stays as sharp.

Source: Nakanishi, "Scalable-Softmax Is Superior for Attention" (arXiv 2501.19399, 2025).
Formula: a_i = softmax((s_h ln n_i + b_h) z_ij), z_ij = q_i . k_j scale + bias(i, j), n_i the keys
that query i sees; b_h = 0 unless `bias`, the paper's variant, reported to hurt length
generalisation. The paper puts SSMax in place of the softmax, so it scales all that enters, the bias
of a scheme included (`scales`, see scaling.py); its own models have RoPE and no such bias.
Deviations: s starts at 1 / ln(train_length), where the factor is 1 for the last query of a training
window; s = 1, as some code has it, multiplies every score by 7 at 1024 tokens.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import check, choice
from lengthgen.config.plugins import About
from lengthgen.modifiers.base import Modifier
from lengthgen.modifiers.scaling import SCALES, Scaled
from lengthgen.schemes.base import GeneratorFor, Scheme


@dataclass
class Config:
    init: float | None = None  # s at the start; null: 1 / ln(train_length)
    bias: bool = False  # learn b as well: the factor is then s ln n + b
    bias_init: float = 0.0  # b at the start
    scales: str = "all"  # what the factor multiplies: all | scores (q.k) | bias (of the scheme)

    def __post_init__(self):
        choice("modifiers.ssmax.scales", self.scales, SCALES)
        check(
            self.bias or self.bias_init == 0,
            f"modifiers.ssmax.bias_init={self.bias_init} has no effect without b:"
            " expected modifiers.ssmax.bias=true with it",
        )


class SSMax(Scaled, Modifier):
    """scale, offset: (n_layers, H) float32; offset only with `bias`."""

    Config = Config
    about = About(
        "Nakanishi, arXiv 2501.19399", 2025, "any scheme", ("scalable-softmax", "float64 loop")
    )
    stage = 3

    def __init__(self, config, inner: Scheme):
        super().__init__(config, inner)
        shape = (self.dimensions.n_layers, self.dimensions.n_heads)
        self.scale = nn.Parameter(torch.zeros(shape))
        self.offset = nn.Parameter(torch.zeros(shape)) if config.bias else None

    @property
    def tail(self) -> str:
        return f"{super().tail}; scores times s ln n, whatever n"

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        super().initialise(generator_for)
        init = self.config.init
        self.scale.fill_(1 / math.log(self.dimensions.train_length) if init is None else init)
        if self.offset is not None:
            self.offset.fill_(self.config.bias_init)

    def factor(self, n: Tensor, layer: int) -> Tensor:
        factor = self.scale[layer][:, None] * n.float().log()
        return factor if self.offset is None else factor + self.offset[layer][:, None]
