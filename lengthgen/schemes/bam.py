"""BAM: a bias shaped like a generalised Gaussian over offsets, which starts as ALiBi.

Source: Bianchessi et al., "Bayesian attention mechanism" (arXiv 2505.22842, 2025);
ArthurSBianchessi/BAM, models/bam.py:AttentionPrior.
Formula: score(i, j) = q_i . k_j / sqrt(D) - exp(a_h) (|i - j - 2 sinh(c_h)| + eps)^s_h.
Start: exp(a) = ALiBi's slopes, s = 1, c = 0. That is ALiBi up to eps times the slope, a constant of
a row that the softmax cancels. As in the official defaults one set of numbers serves all layers
(unless per_layer), a and s are learned, and c is frozen at 0 (unless learn_location).

No factor on the bias, as there: it starts at ALiBi's size, and a is a logarithm.

s is unconstrained, as there. For 0 < s < 1 far tokens are told apart less and less. For s < 0 the
bias turns around: near tokens are pushed away, the nearest by eps^s (100,000 at s = -1), and only
eps keeps offset 0 finite. KERPLE's power (kerple_power.py) has c = 0 and s in (0, 2].
The paper's best model also scales scores by SSMax, bias included; here that is modifier=ssmax.
The README's exp(c) - exp(-c) is 2 sinh(c); the sign of c is chosen so that the bias peaks at the
offset 2 sinh(c). No deviation.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes.alibi import slopes
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


@dataclass
class Config:
    learn_location: bool = False  # train c too, the offset at which the prior peaks
    per_layer: bool = False  # numbers for each layer too, instead of one set a head for all layers
    eps: float = 1e-5  # added to the distance, so that its power has a slope at 0

    def __post_init__(self):
        limit(self, "scheme", "> 0", "eps")


class BAM(Scheme):
    """log_scale, shape, location: (1 or n_layers, H) float32; location may be frozen."""

    Config = Config
    structure = "toeplitz"

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        size = (dimensions.n_layers if config.per_layer else 1, dimensions.n_heads)
        self.log_scale = nn.Parameter(torch.zeros(size))
        self.shape = nn.Parameter(torch.ones(size))
        self.location = nn.Parameter(torch.zeros(size), requires_grad=config.learn_location)

    @property
    def declaration(self) -> Declaration:
        frozen = "two learned numbers and a frozen one"
        learned = "three numbers" if self.config.learn_location else frozen
        return Declaration(
            paper="Bianchessi et al., arXiv 2505.22842, generalised Gaussian prior",
            year=2025,
            acts_on="scores",
            sharing=f"{learned} per head"
            + (" and layer" if self.config.per_layer else ", the same in all layers"),
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}",
            tail="defined at any length: the power goes on",
            oracles=("transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.log_scale.copy_(slopes(self.dimensions.n_heads).double().log2() * math.log(2))
        self.shape.fill_(1.0)
        self.location.fill_(0.0)

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        n = layer if self.config.per_layer else 0
        log_scale, shape, location = (
            part[n][:, None] for part in (self.log_scale, self.shape, self.location)
        )
        distance = (offsets.float() - 2 * location.sinh()).abs() + self.config.eps
        return -log_scale.exp() * distance**shape
