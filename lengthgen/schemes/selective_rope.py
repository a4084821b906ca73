"""Selective RoPE: queries and keys turn by angles that each token adds to.

Source: Movahedi et al., "Selective rotary position embedding" (ICLR 2026, arXiv 2511.17388);
timurcarstensen/selective-rope, src/selective_rope/modules/rotary.py:SelectiveRoPE. "Why do
accumulated transformations extrapolate?" (arXiv 2606.24975) studies the same form beside PaTH:
rotations that accumulate bound how far a head can look, whatever the length.
Formula: pair c of a head turns by theta_c * sum over t <= i of a_tc, a = causal depthwise
convolution of W_up W_down n(x), n(x) attention's normalised input with each of its H slices of D
numbers scaled to length 1; theta_c = base^(-2c/D), pairs (c, c + D/2). step=true adds exp(s_hc), 1
at the start, to a_tc: the angles are then RoPE's plus what the text adds.

Official defaults for language models: base 500,000, rank 32, a convolution over 4 tokens, no step,
no gate on the angles (the gate is not here). Matrices start as N(0, 0.02^2), the convolution as
torch's. A token then turns the fastest pair by some 0.003 radians, a random walk: the start is
close to no positions, and positions have to be learned.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration
from lengthgen.schemes.convolved import Convolved


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


class SelectiveRoPE(Convolved):
    """With step log_step (n_layers, H, D/2) float32."""

    Config = Config

    def __init__(self, config, dimensions):
        H, pairs = dimensions.n_heads, dimensions.head_dim // 2
        super().__init__(config, dimensions, channels=H * pairs)
        if config.step:
            self.log_step = nn.Parameter(torch.zeros(dimensions.n_layers, H, pairs))

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Movahedi et al., ICLR 2026, arXiv 2511.17388",
            year=2025,
            acts_on="queries and keys",
            sharing="projections per layer, an angle per head, pair and token",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"sums of {self.dimensions.train_length - 1} angles",
            tail="defined at any length: angles go on adding up",
            oracles=("transformers", "float64 loop"),
        )

    def angles(self, x: Tensor, layer: int) -> Tensor:
        """(B, H, T, D/2) float64 radians, of x (B, T, E)."""
        D, H = self.dimensions.head_dim, self.dimensions.n_heads
        slices = x.unflatten(-1, (H, -1))
        normed = (slices * (slices.square().sum(-1, keepdim=True) + 1e-6).rsqrt()).flatten(-2)
        turns = self.convolved(normed, layer).transpose(2, 3)
        if self.config.step:
            turns = turns + self.log_step[layer].to(x.dtype).exp()[:, None]
        pairs = torch.arange(D // 2, device=x.device, dtype=torch.float64)
        # A sum over thousands of tokens would lose its last digits in float32.
        return turns.double().cumsum(2) * self.config.base ** (-2 * pairs / D)

    def steer(self, q: Tensor, k: Tensor, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(q.dtype, torch.float32)
        with torch.autocast(q.device.type, enabled=False):
            angles = self.angles(x.to(wide), layer)
            cos, sin = angles.cos().to(wide), angles.sin().to(wide)
            return (
                rotary.turned(q, cos, sin, "half_split"),
                rotary.turned(k, cos, sin, "half_split"),
            )
