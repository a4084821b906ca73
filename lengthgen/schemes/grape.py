"""GRAPE, the additive family: ALiBi's slopes depend on the text (GRAPE-A) or the path (GRAPE-AP).

Source: Zhang et al., "Group representational position encoding" (ICLR 2026, arXiv 2512.07805),
equations 4.6, 5.1 and 5.2; model-architectures/GRAPE, model/llama-mha-grape-ap-v1.py and
llama-mha-grape-a-*.py.
Formula: score(i, j) = q_i . k_j / sqrt(D) + b(i, j), m_h ALiBi's slopes, for each layer and head:
  path   (GRAPE-AP) b = m_h * sum over t = j + 1 .. i of ln sigmoid(p_i . R_t p'_t / d), p = W x of
         size d, p' = p / rms(p), R_t turns all d / 2 pairs by t radians (rotary with base 1)
  key    (GRAPE-A-K) b = -(i - j) m_h softplus(omega_h) softplus(u_h . k_j / sqrt(D)), |u_h| = 1
  query  (GRAPE-A-Q) the same with v_h . q_i
  both   (GRAPE-A-QK) the sum of the two softplus
Start: W ~ N(0, init_factor^2 / E), so path is near ALiBi with slopes 0.69 m_h; softplus(omega) = 1,
u and v random directions: also about 0.69 m_h (1.39 m_h for both).

Unlike FoX, path makes a token's penalty depend on the query too; x-transformers'
PerRowDataDependentAlibi is the same without slopes and turns, summed from j to i - 1. R_t turns one
side by its place in the window, so path is not shift-invariant. The paper normalises p on both
sides, its code only on the tokens': normalise_query=true is the paper. path_size 8 and plain
queries and keys are the official configurations'. The multiplicative family (learned rotations) is
not here. path costs one more product (T, T) per head, and no flash kernel.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.schemes import rotary
from lengthgen.schemes.alibi import slopes
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme

GATES = {"path": (), "key": ("key",), "query": ("query",), "both": ("key", "query")}


@dataclass
class Config:
    # path (GRAPE-AP) | key | query | both (GRAPE-A): what gives a token's penalty
    form: str = "path"
    path_size: int = 8  # d, size of p (path); even
    # divide p by its root mean square on the query's side too (path): the paper; false: its code
    normalise_query: bool = False
    init_factor: float = 0.5  # standard deviation of W at the start, times sqrt(model.width) (path)

    def __post_init__(self):
        choice("scheme.form", self.form, tuple(GATES))
        check(
            self.path_size > 0 and self.path_size % 2 == 0,
            f"scheme.path_size={self.path_size}: expected an even positive integer",
        )
        limit(self, "scheme", "> 0", "init_factor")


class GRAPE(Scheme):
    """path: weight (N, H d, E); else omega (N, H) and key_direction, query_direction (N, H, D).

    N = n_layers; float32.
    """

    Config = Config
    structure = "general"

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        N, H = dimensions.n_layers, dimensions.n_heads
        self.slopes = slopes(H)
        if config.form == "path":
            self.weight = nn.Parameter(torch.zeros(N, H * config.path_size, dimensions.width))
        else:
            self.omega = nn.Parameter(torch.zeros(N, H))
        for side in GATES[config.form]:
            direction = nn.Parameter(torch.zeros(N, H, dimensions.head_dim))
            self.register_parameter(f"{side}_direction", direction)

    @property
    def declaration(self) -> Declaration:
        path = self.config.form == "path"
        return Declaration(
            paper="Zhang et al., ICLR 2026, arXiv 2512.07805, "
            + ("eq. 5.1 and 5.2" if path else "eq. 4.6"),
            year=2025,
            acts_on="scores",
            sharing="a projection per layer and head"
            if path
            else "a direction or two and a rate per layer and head",
            prefix_consistent=True,
            shift_invariant=not path,
            trained_reach=f"offset {self.dimensions.train_length - 1}"
            + ("; turns of whole radians, never the same twice" if path else ""),
            tail="defined at any length: penalties go on adding up"
            if path
            else "defined at any length: the line goes on",
            oracles=("x-transformers", "float64 loop"),
        )

    @property
    def reads_text(self) -> bool:
        return self.config.form == "path"

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        for name, parameter in self.named_parameters():
            if name == "omega":
                parameter.fill_(math.log(math.expm1(1.0)))
            else:
                wide = self.config.init_factor * self.dimensions.width**-0.5
                std = wide if name == "weight" else 1.0
                parameter.normal_(0.0, std, generator=generator_for(name))

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        scores = super().logits(q, k, x, positions, layer, first)
        keys = k.shape[2]
        positions = positions[:keys]
        slope = self.slopes.to(q)[:, None, None]
        if self.config.form == "path":
            return scores + slope * self._path(x[:, :keys].to(q.dtype), positions, layer, first)
        distance = (positions[first:, None] - positions).clamp(min=0).to(q.dtype)
        rate = F.softplus(self.omega[layer]).to(q)[:, None, None]
        return scores - slope * rate * distance * self._rates(q, k, layer)

    def _rates(self, q: Tensor, k: Tensor, layer: int) -> Tensor:
        """(B, H, R or 1, S or 1): what a token of distance costs."""
        scale = self.dimensions.head_dim**-0.5
        rates = []
        for side in GATES[self.config.form]:
            vectors = k if side == "key" else q
            direction = F.normalize(getattr(self, f"{side}_direction")[layer].to(q), dim=-1)
            rate = F.softplus((vectors * direction[:, None]).sum(-1) * scale)
            rates.append(rate[..., None, :] if side == "key" else rate[..., None])
        return rates[0] if len(rates) == 1 else rates[0] + rates[1]

    def _path(self, x: Tensor, positions: Tensor, layer: int, first: int) -> Tensor:
        """(B, H, R, S): sums of ln sigmoid over the tokens after a key, up to the query's own."""
        p = F.linear(x, self.weight[layer].to(x.dtype))
        p = p.unflatten(-1, (self.dimensions.n_heads, -1)).transpose(1, 2)
        normed = F.rms_norm(p, p.shape[-1:])
        probes = (normed if self.config.normalise_query else p)[:, :, first:]
        angles = positions.double()[:, None]  # (S, 1): all pairs turn alike
        turned = rotary.turned(normed, angles.cos().to(p), angles.sin().to(p), "half_split")
        # Later tokens count 0 before the sum runs from the right, or the future would leak.
        edges = F.logsigmoid(probes @ turned.mT / p.shape[-1]).tril(first)
        return F.pad(edges[..., 1:], (0, 1)).flip(-1).cumsum(-1).flip(-1)
