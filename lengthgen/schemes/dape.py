"""DAPE: data-adaptive positional encoding. A small network reads all heads' scores and biases of a pair of tokens and adds to them.

Source: Zheng et al., "DAPE: data-adaptive positional encoding for length extrapolation" (NeurIPS 2024, arXiv 2405.14722), and
Zheng et al., "DAPE V2: process attention score as feature map for length extrapolation" (arXiv 2410.04798); chuanyang-Zheng/DAPE,
DAPE.py and megatron/model/positional_embeddings.py.
Formula: score = A + B + f([A; B]), A = q k^T / sqrt(D) (H, T, T), B the bias of `inner`, [A; B] (2H, T, T) its channels;
f = Conv(2H -> hidden) -> LeakyReLU(0.01) -> Conv(hidden -> H), one for each layer, torch's default start.
kernel=1: each pair of tokens by itself, the perceptron of DAPE. kernel=3: also the `kernel // 2` keys on either side, DAPE V2's 1 x 3.
Around the window lie zeros.

inner: any scheme with an additive bias that positions alone decide (structure toeplitz or rows): alibi, kerple_log, fire, t5_bias, ...
The DAPE repository has KERPLE's and FIRE's parameters for each layer; so do the named variants dape_kerple and dape_v2_kerple
(inner_options={per_layer: true}). Deviation: its FIRE has LeakyReLU in place of ReLU when DAPE is around it; here the inner scheme is as
it is by itself. `hidden` is 32, as there.

Traps. (1) With kernel > 1 a score at a later key must be zero before the convolution, else the future leaks. (2) In the official code
hidden units to the right of a row's own key exist only where the window goes on, so the last `kernel // 2` rows of a window come
out otherwise than in a longer one. Here they always exist: every row is as the official code has it inside a window, and prefixes are
consistent. (3) The output's bias is added to all scores of a row and cancels in the softmax; kept, since
the official code has it.
Cost: hidden x T^2 / 2 numbers a layer and sequence kept for the backward pass; 32 hidden units for 4 heads are 4 score matrices' worth.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lengthgen import schemes
from lengthgen.attention.bias_forms import Bias
from lengthgen.config.dataclass_from import build, check, limit
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme
from lengthgen.schemes.wrapper import Wrapper

# rows of scores that pass the network at a time: 3 times faster than all 512 at once on CPU (one
# layer, both ways)
ROWS = 64


@dataclass
class Config:
    # the scheme whose bias is adapted: alibi, kerple_log, fire, t5_bias, ...
    inner: str = "kerple_log"
    # its options, as +scheme.inner_options.NAME=VALUE; {} = defaults
    inner_options: dict[str, Any] = field(default_factory=dict)
    kernel: int = 1  # keys that one output sees: 1 = DAPE, 3 = DAPE V2; odd
    hidden: int = 32  # hidden units of the network

    def __post_init__(self):
        check(
            self.kernel > 0 and self.kernel % 2 == 1,
            f"scheme.kernel={self.kernel}: expected an odd number >= 1",
        )
        limit(self, "scheme", "> 0", "hidden")


class DAPE(Wrapper):
    """hidden_weight (N, hidden, 2H, kernel), hidden_bias (N, hidden), out_weight (N, H, hidden, kernel), out_bias (N, H); and inner's."""

    Config = Config

    def __init__(self, config, dimensions):
        kind = schemes.load(config.inner)
        inner = kind(build(kind.Config, config.inner_options, "scheme.inner_options"), dimensions)
        structure = inner.declaration.structure
        check(
            structure in ("toeplitz", "rows"),
            f"scheme.inner={config.inner}: expected a scheme with an additive bias of positions",
        )
        super().__init__(config, inner)
        N, H = dimensions.n_layers, dimensions.n_heads
        self.hidden_weight = nn.Parameter(torch.zeros(N, config.hidden, 2 * H, config.kernel))
        self.hidden_bias = nn.Parameter(torch.zeros(N, config.hidden))
        self.out_weight = nn.Parameter(torch.zeros(N, H, config.hidden, config.kernel))
        self.out_bias = nn.Parameter(torch.zeros(N, H))

    @property
    def declaration(self) -> Declaration:
        inner = self.inner.declaration
        return Declaration(
            paper="Zheng et al., "
            + (
                "NeurIPS 2024, arXiv 2405.14722"
                if self.config.kernel == 1
                else "DAPE V2, arXiv 2410.04798"
            ),
            year=2024,
            acts_on="scores",
            structure="general",
            sharing=f"a network per layer over all heads; {self.config.inner}: {inner.sharing}",
            prefix_consistent=inner.prefix_consistent,
            shift_invariant=inner.shift_invariant,
            trained_reach=inner.trained_reach,
            tail=f"the network reads a bias that it may not have met; {self.config.inner}: {inner.tail}",
            oracles=("torch.nn.Linear", "float64 loop"),
        )

    def general(self, layer: int) -> bool:
        return True

    @property
    def by_rows(self) -> bool:
        return True

    def biases(self, positions: Tensor) -> list[Bias | None]:
        return Scheme.biases(self, positions)

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.inner.initialise(generator_for)
        for part in ("hidden", "out"):
            weight = getattr(self, f"{part}_weight")
            # what torch's Conv2d draws from, weights and biases alike
            bound = weight[0, 0].numel() ** -0.5
            for name in (f"{part}_weight", f"{part}_bias"):
                getattr(self, name).uniform_(-bound, bound, generator=generator_for(name))

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        scores = q @ k.transpose(-1, -2) * self.score_scale
        bias = self._bias(positions, layer, first, k.shape[2]).to(q.dtype).expand_as(scores)
        return scores + bias + self._adapted(torch.cat((scores, bias), dim=1), layer, first)

    def _bias(self, positions: Tensor, layer: int, first: int, last: int) -> Tensor:
        """(H, last - first, last): the inner scheme's, of queries first..last-1."""
        source = 0 if self.inner.shares_bias_over_layers else layer
        if self.inner.declaration.structure == "rows":
            return self.inner.rows(positions[first:last], positions[:last], source)
        places = torch.arange(last, device=positions.device)
        return self.inner.toeplitz(places, source)[:, (places[first:, None] - places).clamp(min=0)]

    def _adapted(self, channels: Tensor, layer: int, first: int) -> Tensor:
        """What the network makes of channels (B, 2H, R, S), rows first..first+R-1: (B, H, R, S). Rubbish or 0 where a key is later."""
        rows, keys = channels.shape[2:]
        parts = []
        for start in range(
            0, rows, ROWS
        ):  # hidden units of few rows fit the cache, and keys after a chunk need none
            last = min(rows, start + ROWS)
            part = self._network(channels[:, :, start:last, : first + last], layer, first + start)
            parts.append(F.pad(part, (0, keys - first - last)))
        return torch.cat(parts, dim=2)

    def _network(self, channels: Tensor, layer: int, first: int) -> Tensor:
        half = self.config.kernel // 2
        if half:
            # as many hidden units to the right as the output will look at
            channels = F.pad(channels.tril(first), (half, 2 * half))
        parameters = (self.hidden_weight, self.hidden_bias, self.out_weight, self.out_bias)
        hidden_weight, hidden_bias, out_weight, out_bias = (
            parameter[layer].to(channels.dtype) for parameter in parameters
        )
        hidden = F.leaky_relu_(F.conv2d(channels, hidden_weight[:, :, None], hidden_bias))
        return F.conv2d(F.pad(hidden, (half, 0)), out_weight[:, :, None], out_bias)
