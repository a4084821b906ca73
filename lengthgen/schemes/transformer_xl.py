"""Transformer-XL's relative positions: the query meets a projected sinusoid of the offset.

Source: Dai et al., "Transformer-XL" (ACL 2019), section 3.3; kimiyoung/transformer-xl,
pytorch/mem_transformer.py:RelPartialLearnableMultiHeadAttn.
Formula: score(i, j) = ((q_i + u) . k_j + (q_i + v) . W r_n) / sqrt(D), n = i - j,
r_n = [sin(n w_0) .. sin(n w_(E/2-1)), cos(n w_0) ..], w_c = base^(-2c/E).
W (H D, E) belongs to a layer and has no bias; u and v (H, D) serve all layers (untie=true: a pair
for each, like the official flag). All start from N(0, 0.02^2), as there.

clamp: offsets past it read r_clamp, in training too; it can only help where training reaches it.
No scale_bias: the learned parts meet queries and keys inside the scaled score (as in shaw.py).
The official clamp_len, default -1 (off), is usually given for evaluation alone (400, with 640
tokens of memory). The memory of the previous segment, which would change the training windows, is
not here. q_i + v makes the term depend on the query: no flash kernel, blocks of rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes import relative_shift
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


@dataclass
class Config:
    untie: bool = False  # u and v for each layer instead of one pair for all
    clamp: int | None = None  # offsets past it count as it; null: none does
    base: float = 10000.0  # longest wavelength of the sinusoid / 2 pi, nearly
    init_std: float = 0.02  # standard deviation of W, u and v at the start

    def __post_init__(self):
        limit(self, "scheme", "> 0", "clamp")
        limit(self, "scheme", "> 1", "base")
        limit(self, "scheme", ">= 0", "init_std")


class TransformerXL(Scheme):
    """projection: (n_layers, H D, E), the official r_net; u, v: (1 or n_layers, H, D); float32."""

    Config = Config
    structure = "general"
    reads_text = False

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        self.check_even("model.width", dimensions.width)
        N, H, D = dimensions.n_layers, dimensions.n_heads, dimensions.head_dim
        self.projection = nn.Parameter(torch.zeros(N, H * D, dimensions.width))
        self.u = nn.Parameter(torch.zeros(N if config.untie else 1, H, D))
        self.v = nn.Parameter(torch.zeros(N if config.untie else 1, H, D))

    @property
    def declaration(self) -> Declaration:
        clamp, reach = self.config.clamp, self.dimensions.train_length - 1
        unseen = "sinusoids of later offsets were never seen"
        if clamp is not None:
            unseen = f"clamp: offsets past {clamp} count as {clamp}" + (
                "" if clamp <= reach else ", which NO training offset reaches"
            )
        return Declaration(
            paper="Dai et al., ACL 2019, section 3.3",
            year=2019,
            acts_on="scores",
            sharing="a matrix per layer; u and v per head"
            + (" and layer" if self.config.untie else ", the same in all layers"),
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {reach}",
            tail=f"defined at any length; {unseen}",
            oracles=("transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        for name in ("projection", "u", "v"):
            getattr(self, name).normal_(0.0, self.config.init_std, generator=generator_for(name))

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        keys, n = k.shape[2], layer if self.config.untie else 0
        u, v = (pair[n][:, None].to(q.dtype) for pair in (self.u, self.v))
        reach = keys if self.config.clamp is None else min(keys, self.config.clamp + 1)
        offsets = torch.arange(reach, device=q.device)  # `by_key` lets later ones read the last
        by_offset = (q + v) @ self.relative_keys(offsets, layer, q.dtype).mT
        return ((q + u) @ k.mT + relative_shift.by_key(by_offset, keys)) * self.score_scale

    def relative_keys(self, offsets: Tensor, layer: int, dtype: torch.dtype) -> Tensor:
        """W r_n (H, O, D) of offsets (O,)."""
        waves = sinusoid(offsets, self.dimensions.width, self.config.base).to(dtype)
        keys = waves @ self.projection[layer].to(dtype).T
        return keys.unflatten(-1, (self.dimensions.n_heads, -1)).transpose(0, 1)


def sinusoid(offsets: Tensor, width: int, base: float) -> Tensor:
    """r (O, E) float64 of offsets (O,): sines first, then cosines."""
    exponent = 2 * torch.arange(width // 2, device=offsets.device, dtype=torch.float64) / width
    angles = offsets.double()[:, None] * base**-exponent
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
