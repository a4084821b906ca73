"""Selective RoPE: queries and keys turn as in RoPE, but by angles that add up along the text and that each token decides.

Source: Movahedi et al., "Selective rotary position embedding" (ICLR 2026, arXiv 2511.17388); timurcarstensen/selective-rope,
src/selective_rope/modules/rotary.py:SelectiveRoPE. "Why do accumulated transformations extrapolate?" (arXiv 2606.24975) studies the same
form beside PaTH: rotations that accumulate bound how far a head can look, whatever the length.
Formula: pair c of a head turns by theta_c * sum over t <= i of a_tc, a = causal depthwise convolution of W_up W_down n(x), n(x) the
attention's normalised input with each of its H slices of D numbers scaled to length 1; theta_c = base^(-2c/D), pairs (c, c + D/2).
With step=true a_tc gets exp(s_hc) added, 1 at the start: the angles are then RoPE's plus what the text adds.

Official defaults for language models: base 500,000, rank 32, a convolution over 4 tokens, neither step nor a gate on the angles
(the gate is not here). Matrices start as N(0, 0.02^2), the convolution as torch's. So a token begins by turning the fastest pair by some
0.003 radians, a random walk: the start is close to no positions at all, and positions have to be learned.

Angles are summed in float64.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


@dataclass
class Config:
    base: float = 500000.0  # theta: pair c turns base^(-2c/D) times as fast as the first
    rank: int = 32  # size of the layer between the input and the angles
    kernel: int = 4  # tokens that the convolution sees
    step: bool = False  # every token also turns by a learned constant, RoPE's at the start
    init_std: float = 0.02  # standard deviation of the matrices at the start

    def __post_init__(self):
        limit(self, "scheme", "> 1", "base")
        limit(self, "scheme", "> 0", "rank", "kernel", "init_std")


class SelectiveRoPE(Scheme):
    """down (N, rank, E), up (N, H D/2, rank), conv (N, H D/2, kernel); if step also log_step (N, H, D/2). N = n_layers, float32."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        N, H, pairs = dimensions.n_layers, dimensions.n_heads, dimensions.head_dim // 2
        self.down = nn.Parameter(torch.zeros(N, config.rank, dimensions.width))
        self.up = nn.Parameter(torch.zeros(N, H * pairs, config.rank))
        self.conv = nn.Parameter(torch.zeros(N, H * pairs, config.kernel))
        if config.step:
            self.log_step = nn.Parameter(torch.zeros(N, H, pairs))

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Movahedi et al., ICLR 2026, arXiv 2511.17388",
            year=2025,
            acts_on="queries and keys",
            structure="none",
            sharing="projections per layer, an angle per head, pair and token",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"sums of {self.dimensions.train_length - 1} angles",
            tail="defined at any length: angles go on adding up",
            oracles=("transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        for name, parameter in self.named_parameters():
            if name == "log_step":
                parameter.zero_()
            elif name == "conv":
                bound = self.config.kernel**-0.5  # what torch.nn.Conv1d draws from
                parameter.uniform_(-bound, bound, generator=generator_for(name))
            else:
                parameter.normal_(0.0, self.config.init_std, generator=generator_for(name))

    def angles(self, x: Tensor, layer: int) -> Tensor:
        """(B, H, T, D/2) float64 radians, of x (B, T, E)."""
        D, H = self.dimensions.head_dim, self.dimensions.n_heads
        slices = x.unflatten(-1, (H, -1))
        even = (slices * (slices.square().sum(-1, keepdim=True) + 1e-6).rsqrt()).flatten(-2)
        low = F.linear(
            F.linear(even, self.down[layer].to(x.dtype)), self.up[layer].to(x.dtype)
        ).transpose(1, 2)
        conv = self.conv[layer].to(x.dtype)
        turns = (
            F.conv1d(F.pad(low, (self.config.kernel - 1, 0)), conv[:, None], groups=len(conv))
            .unflatten(1, (H, -1))
            .transpose(2, 3)
        )
        if self.config.step:
            turns = turns + self.log_step[layer].to(x.dtype).exp()[:, None]
        theta = self.config.base ** (
            -2 * torch.arange(D // 2, device=x.device, dtype=torch.float64) / D
        )
        return turns.double().cumsum(2) * theta

    def steer(self, q: Tensor, k: Tensor, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(q.dtype, torch.float32)
        with torch.autocast(q.device.type, enabled=False):
            angles = self.angles(x.to(wide), layer)
            cos, sin = angles.cos().to(wide), angles.sin().to(wide)
            return _turned(q.to(wide), cos, sin).to(q.dtype), _turned(k.to(wide), cos, sin).to(
                k.dtype
            )


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, H, T, D) with pair (c, c + D/2) turned by an angle of its own; cos, sin (B, H, T, D/2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)
