"""W_up W_down x, then a causal depthwise convolution: how PaTH and selective RoPE read the text.

Shape letters: N layers, B sequences, T tokens, E width, H heads, C channels of the output.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lengthgen.schemes.base import Dimensions, GeneratorFor, Scheme


class Convolved(Scheme):
    """down (N, rank, E), up (N, C, rank), conv (N, C, kernel) float32; options rank, kernel."""

    def __init__(self, config, dimensions: Dimensions, channels: int):
        super().__init__(config, dimensions)
        N = dimensions.n_layers
        self.down = nn.Parameter(torch.zeros(N, config.rank, dimensions.width))
        self.up = nn.Parameter(torch.zeros(N, channels, config.rank))
        self.conv = nn.Parameter(torch.zeros(N, channels, config.kernel))

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        """Matrices N(0, init_std^2), biases and log_step 0, the convolution as torch.nn.Conv1d."""
        for name, parameter in self.named_parameters():
            if name.endswith(("bias", "log_step")):
                parameter.zero_()
            elif name == "conv":
                bound = self.config.kernel**-0.5
                parameter.uniform_(-bound, bound, generator=generator_for(name))
            else:
                parameter.normal_(0.0, self.config.init_std, generator=generator_for(name))

    def convolved(self, x: Tensor, layer: int) -> Tensor:
        """x (B, T, E) -> (B, H, C / H, T) in x's dtype."""
        down, up, conv = (part[layer].to(x.dtype) for part in (self.down, self.up, self.conv))
        low = F.linear(F.linear(x, down), up).transpose(1, 2)
        low = F.pad(low, (self.config.kernel - 1, 0))  # no token sees a later one
        channels = F.conv1d(low, conv[:, None], groups=len(conv))
        return channels.unflatten(1, (self.dimensions.n_heads, -1))
