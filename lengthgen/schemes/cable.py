"""CABLE: context-aware biases. Tokens add learned distances, and each query weighs what it sees.

Source: Veisi et al., "Context-aware biases for length extrapolation" (arXiv 2503.08067, 2025);
axiomlab/Cable, src/Cable.py.
Formula: score(i, j) = q_i . k_j / sqrt(D) - s_i * sum over t = j + 1 .. i of g_t, for each layer;
g_t = act(w_h . x_t + b_h) >= 0, s_i = softplus(u_h . x_i + c_h), x attention's normalised input.
w, u ~ N(0, 0.02^2) and b = c = 0 at the start.
  weighted=true, activation=relu       the paper's third version, the default
  weighted=false, activation=softplus  the released code, the first version ("NW", no weights). As
                                       -softplus(z) = ln sigmoid(-z), it is FoX's full gate with the
                                       signs of w and b turned

The text of the third version seems to lack the minus, which would favour distance; code that
follows it subtracts, as here. The released code does not scale its scores (it divides q and k by
sqrt(C / n_embd) = 1); here they are divided by sqrt(D) as everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lengthgen.config.dataclass_from import choice, limit
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "softplus": F.softplus}


@dataclass
class Config:
    # each query weighs its distances by a number of its own; false = the released code
    weighted: bool = True
    # what keeps a token's distance positive: relu (paper, version 3) | softplus (released code)
    activation: str = "relu"
    init_std: float = 0.02  # standard deviation of the weights at the start

    def __post_init__(self):
        choice("scheme.activation", self.activation, tuple(ACTIVATIONS))
        limit(self, "scheme", ">= 0", "init_std")


class CABLE(Scheme):
    """weight, scale_weight: (n_layers, H, E); bias, scale_bias: (n_layers, H); float32.

    The two of the scale exist if weighted.
    """

    Config = Config
    structure = "gates"

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        N, H, E = dimensions.n_layers, dimensions.n_heads, dimensions.width
        self.weight = nn.Parameter(torch.zeros(N, H, E))
        self.bias = nn.Parameter(torch.zeros(N, H))
        if config.weighted:
            self.scale_weight = nn.Parameter(torch.zeros(N, H, E))
            self.scale_bias = nn.Parameter(torch.zeros(N, H))

    @property
    def declaration(self) -> Declaration:
        vectors = "two weight vectors" if self.config.weighted else "a weight vector"
        return Declaration(
            paper="Veisi et al., arXiv 2503.08067"
            + ("v3" if self.config.weighted else ", without weights"),
            year=2025,
            acts_on="scores",
            sharing=f"{vectors} and as many numbers per layer and head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}; "
            "a token's distance is trained wherever it stands",
            tail="defined at any length: distances go on adding up",
            oracles=("x-transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        for kind in ("", "scale_") if self.config.weighted else ("",):
            name = f"{kind}weight"
            getattr(self, name).normal_(0.0, self.config.init_std, generator=generator_for(name))
            getattr(self, f"{kind}bias").zero_()

    def distances(self, x: Tensor, layer: int) -> Tensor:
        """(B, H, T), float32 or wider: what each token adds to the distance of those before it."""
        return ACTIVATIONS[self.config.activation](linear(x, self.weight[layer], self.bias[layer]))

    def gates(self, x: Tensor, layer: int) -> Tensor | None:
        return -self.distances(x, layer)

    def gate_weights(self, x: Tensor, layer: int) -> Tensor | None:
        if not self.config.weighted:
            return None
        return F.softplus(linear(x, self.scale_weight[layer], self.scale_bias[layer]))


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (B, T, E) -> (B, H, T), in float32 or x's wider dtype."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return F.linear(x.to(wide), weight.to(wide), bias.to(wide)).transpose(1, 2)
