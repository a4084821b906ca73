"""FoX: the Forgetting Transformer. A token's forget gate lowers all scores that look past it.

Source: Lin et al., "Forgetting Transformer" (ICLR 2025, arXiv 2503.02130), section 3;
zhixuan-lin/forgetting-transformer, modeling_forgetting_transformer.py:ForgettingAttentionLayer.
Formula: score(i, j) = q_i . k_j / sqrt(D) + sum over t = j + 1 .. i of ln f_t, f_t = sigmoid(w_h .
x_t + b_h), x attention's normalised input. A token's own gate does not lower its own score. gate:
  full       the formula; w ~ N(0, init_std^2), b = bias_init, for each layer
  bias_only  w = 0: f = sigmoid(b_h), learned for each layer. ALiBi with learned slopes: Toeplitz
  fixed      f = exp(-1 / time_h), nothing learned. Toeplitz
The times of bias_only (at the start) and fixed are spaced evenly in the logarithm from `shortest`
to `longest` over the heads, as in the official code with fgate_bias_init. shortest=null is 2^(8 /
H): with longest=256 the slopes are then ALiBi's 2^(-8 h / H) (for H no power of two ALiBi
interleaves two such lists).

The start matters. The official code starts w ~ N(0, 0.02^2), b = 0: f = 0.5, -0.69 a token, so a
model begins by looking at a few tokens and learns to look further. x-transformers
(DataDependentAlibi) starts b = 5, f = 0.993: bias_init=5. As in the official defaults there are no
other positions (rope=true adds RoPE, there with base 500,000). The paper's "Pro" block (output
gates, QK norm, shifted keys and values) changes the model rather than positions and is not here.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lengthgen.config.dataclass_from import choice, limit
from lengthgen.schemes import rope
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme
from lengthgen.schemes.cable import linear

SHARING = {
    "full": "a weight vector and a number per layer and head",
    "bias_only": "a number per layer and head",
    "fixed": "no parameters; the same times in every layer",
}


@dataclass
class Config:
    # what a gate depends on: full (the text) | bias_only (learned, not the text) | fixed
    gate: str = "full"
    init_std: float = 0.02  # standard deviation of the gate's weights at the start (full)
    # the gate's bias at the start (full): 0 = the official 0.5 a token; 5 = 0.993, x-transformers'
    # choice
    bias_init: float = 0.0
    # tokens in which the first head's gates fall to 1/e (bias_only, fixed); null: 2^(8 / n_heads),
    # ALiBi's
    shortest: float | None = None
    longest: float = 256.0  # the same of the last head
    rope: bool = False  # rotate queries and keys too
    rope_base: float = 10000.0  # of that rotation; the official code has 500,000

    def __post_init__(self):
        choice("scheme.gate", self.gate, tuple(SHARING))
        limit(self, "scheme", ">= 0", "init_std")
        limit(self, "scheme", "> 0", "shortest", "longest")


class FoX(Scheme):
    """weight (n_layers, H, E) if full; bias (n_layers, H) unless fixed; float32."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        N, H = dimensions.n_layers, dimensions.n_heads
        if config.gate == "full":
            self.weight = nn.Parameter(torch.zeros(N, H, dimensions.width))
        if config.gate != "fixed":
            self.bias = nn.Parameter(torch.zeros(N, H))
        if config.rope:
            self.rope = rope.RoPE(rope.Config(base=config.rope_base), dimensions)

    @property
    def structure(self) -> str:
        return "gates" if self.config.gate == "full" else "toeplitz"

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Lin et al., ICLR 2025, arXiv 2503.02130, section 3",
            year=2025,
            acts_on="scores",
            sharing=SHARING[self.config.gate],
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}; "
            "a gate is trained wherever its token stands",
            tail="defined at any length: gates go on adding up"
            + ("; unseen angles of the slow pairs" if self.config.rope else ""),
            oracles=("x-transformers", "float64 loop"),
        )

    @property
    def shares_bias_over_layers(self) -> bool:
        return self.config.gate != "bias_only"

    def times(self) -> Tensor:
        """(H,) float64: tokens in which a head's gates multiply to 1/e at the start."""
        H = self.dimensions.n_heads
        first, last = math.log(self.config.shortest or 2 ** (8 / H)), math.log(self.config.longest)
        return torch.linspace(first, last, H, dtype=torch.float64).exp()

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        if self.config.gate == "full":
            self.weight.normal_(0.0, self.config.init_std, generator=generator_for("weight"))
            self.bias.fill_(self.config.bias_init)
        elif self.config.gate == "bias_only":
            self.bias.copy_(-(1 / self.times()).expm1().log())  # sigmoid(bias) = exp(-1 / time)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return self.rope.rotate(q, k, positions, layer) if self.config.rope else (q, k)

    def gates(self, x: Tensor, layer: int) -> Tensor | None:
        if self.config.gate != "full":
            return None
        return F.logsigmoid(linear(x, self.weight[layer], self.bias[layer]))

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        if self.config.gate == "bias_only":
            log_gates = F.logsigmoid(self.bias[layer])
        else:
            log_gates = -(1 / self.times()).float().to(offsets.device)
        return log_gates[:, None] * offsets.float()
