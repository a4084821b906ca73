"""CPB: continuous position bias. A small network maps the offset to a bias per head.

Source: Liu et al., "Swin Transformer V2" (CVPR 2022), section 3.3, in one dimension;
lucidrains/x-transformers, DynamicPositionBias.
Formula: score(i, j) = q_i . k_j / sqrt(D) + sqrt(D) f(g(i - j))_h, g(n) = ln(1 + n) with
log_distance, else n; f = Linear(1, hidden) -> SiLU -> (depth - 1) x [Linear(hidden, hidden) ->
SiLU] -> Linear(hidden, H). One network for all layers unless per_layer.
Initialisation: torch's default, the last layer divided by the factor sqrt(D). The bias starts as
x-transformers', which has no factor, and its last layer learns at the speed of t5_bias's table
(scale_bias, see t5_bias.py). scale_bias=false is x-transformers'.

log_distance=true is Swin V2's "log-spaced" form. x-transformers' default is false (the variant
cpb_linear): at offset 511 its biases start with a standard deviation of 66 (0.8 with the logarithm;
50 starts of 4 heads, 32 units) and a random sign, so some heads begin by looking only at the
farthest token. Both continue linearly in g past the longest trained offset.
The other defaults are x-transformers', without its option `norm`. Swin V2 has one hidden layer of
512 with ReLU, 16 times a sigmoid as output and no output bias. The output bias shifts a whole row,
so the softmax cancels it; kept as x-transformers has it.
"""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


@dataclass
class Config:
    # the network reads ln(1 + offset), as Swin V2's; false: the offset, x-transformers' default
    log_distance: bool = True
    depth: int = 2  # hidden layers
    hidden: int | None = None  # units of a hidden layer; null: model.width / 4
    per_layer: bool = False  # a network for each layer instead of one for all
    scale_bias: bool = True  # multiply the bias by sqrt(head size), as t5_bias does

    BEFORE: ClassVar[dict[str, Any]] = {"scale_bias": False}

    def __post_init__(self):
        limit(self, "scheme", "> 0", "depth", "hidden")


class CPB(Scheme):
    """w0 (N, hidden, 1), b0 (N, hidden), ... w{depth} (N, H, hidden), b{depth} (N, H); float32.

    N = n_layers or 1.
    """

    Config = Config
    structure = "toeplitz"

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        hidden = config.hidden or max(1, dimensions.width // 4)
        sizes = [1, *[hidden] * config.depth, dimensions.n_heads]
        networks = dimensions.n_layers if config.per_layer else 1
        for number, (before, after) in enumerate(itertools.pairwise(sizes)):
            setattr(self, f"w{number}", nn.Parameter(torch.zeros(networks, after, before)))
            setattr(self, f"b{number}", nn.Parameter(torch.zeros(networks, after)))

    @property
    def declaration(self) -> Declaration:
        read = "the logarithm of the offset" if self.config.log_distance else "the offset"
        return Declaration(
            paper="Liu et al., Swin Transformer V2, CVPR 2022, section 3.3; "
            "x-transformers, DynamicPositionBias",
            year=2021,
            acts_on="scores",
            sharing=(
                "a network per layer" if self.config.per_layer else "one network for all layers"
            )
            + ", an output per head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}",
            tail=f"defined at any length: the network goes on nearly linearly in {read}",
            oracles=("x-transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        for number in range(self.config.depth + 1):
            # what torch.nn.Linear draws from, weights and biases alike
            bound = self._layer(number, 0)[0].shape[-1] ** -0.5
            if number == self.config.depth:
                bound /= self._factor
            for name in (f"w{number}", f"b{number}"):
                getattr(self, name).uniform_(-bound, bound, generator=generator_for(name))

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        n = layer if self.config.per_layer else 0
        values = offsets.float()  # in bfloat16 neighbouring offsets would merge
        units = (values.log1p() if self.config.log_distance else values)[:, None]
        for number in range(self.config.depth):
            units = F.silu(F.linear(units, *self._layer(number, n)))
        return F.linear(units, *self._layer(self.config.depth, n)).T * self._factor

    @property
    def _factor(self) -> float:
        return self.dimensions.head_dim**0.5 if self.config.scale_bias else 1.0

    def _layer(self, number: int, n: int) -> tuple[Tensor, Tensor]:
        return getattr(self, f"w{number}")[n], getattr(self, f"b{number}")[n]
