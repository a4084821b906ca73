"""DAPE: data-adaptive positional encoding. A network over all heads adapts scores and bias.

Source: Zheng et al., "DAPE" (NeurIPS 2024, arXiv 2405.14722), and "DAPE V2" (arXiv 2410.04798);
chuanyang-Zheng/DAPE, DAPE.py and megatron/model/positional_embeddings.py.
Formula: score = A + B + f([A; B]), A = q k^T / sqrt(D) (H, T, T), B the bias of `inner`, [A; B]
(2H, T, T) its channels; f = Conv(2H -> hidden) -> LeakyReLU(0.01) -> Conv(hidden -> H) for each
layer, torch's default initialisation. kernel=1 reads each pair by itself (DAPE), kernel=3 also the
kernel // 2 keys on either side (DAPE V2's 1 x 3). The window is padded with zeros.

inner is any scheme of structure toeplitz or rows. The DAPE repository has KERPLE's and FIRE's
parameters per layer, as do the variants dape_kerple and dape_v2_kerple. Deviation: its FIRE has
LeakyReLU in place of ReLU inside DAPE; here the inner scheme is unchanged.

With kernel > 1 the official code has hidden units to the right of a row's own key only inside the
window, so the last kernel // 2 rows come out differently than in a longer window. Here these units
always exist: every row is as the official code has it inside a window, and prefixes are consistent.
The output bias shifts a whole row, so the softmax cancels it; kept, as the official code has it.
Cost: per pair the products of the network, forward, again, and backward; the hidden units are kept
for a block of rows at a time, with kernel=1 on CPU for a few thousand pairs (pair_network.py).
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lengthgen.attention.bias_forms import Bias
from lengthgen.config.dataclass_from import check, limit
from lengthgen.schemes import pair_network
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme
from lengthgen.schemes.wrapper import Wrapper, inner_options, inner_scheme

# Rows that pass the network at a time, so that hidden units fit the cache: 3 times faster on CPU
# than all 512 at once, forward and backward.
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

    def at_length(self, train_length: int) -> dict[str, Any]:
        return {"inner_options": inner_options(self, train_length)}


class DAPE(Wrapper):
    """hidden_weight (N, hidden, 2H, kernel), out_weight (N, H, hidden, kernel), N = n_layers.

    hidden_bias (N, hidden), out_bias (N, H); and inner's parameters.
    """

    Config = Config
    structure = "general"

    def __init__(self, config, dimensions):
        inner = inner_scheme(config, dimensions)
        check(
            inner.structure in ("toeplitz", "rows"),
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
        inner, v2 = self.inner.declaration, self.config.kernel > 1
        version = "DAPE V2, arXiv 2410.04798" if v2 else "NeurIPS 2024, arXiv 2405.14722"
        return replace(
            inner,
            paper=f"Zheng et al., {version}",
            year=2024,
            acts_on="scores",
            sharing=f"a network per layer over all heads; {self.config.inner}: {inner.sharing}",
            tail="the network reads a bias that it may not have met; "
            f"{self.config.inner}: {inner.tail}",
            oracles=("torch.nn.Linear", "float64 loop"),
        )

    def general(self, layer: int) -> bool:
        return True

    @property
    def reads_text(self) -> bool:
        return self.inner.reads_text

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
        scores = (q * self.score_scale) @ k.transpose(-1, -2)
        bias = self._bias(positions, layer, first, k.shape[2]).to(q.dtype)
        if self.config.kernel == 1 and q.device.type == "cpu":
            hidden_weight, hidden_bias, out_weight, out_bias = self._of_layer(layer, q.dtype)
            return pair_network.adapted(
                scores, bias, (hidden_weight[..., 0], hidden_bias), (out_weight[..., 0], out_bias)
            )
        bias = bias.expand_as(scores)
        return scores + bias + self._adapted(torch.cat((scores, bias), dim=1), layer, first)

    def _bias(self, positions: Tensor, layer: int, first: int, last: int) -> Tensor:
        """(H, last - first, last): the inner scheme's bias of queries first..last-1."""
        source = 0 if self.inner.shares_bias_over_layers else layer
        if self.inner.structure == "rows":
            return self.inner.rows(positions[first:last], positions[:last], source)
        places = torch.arange(last, device=positions.device)
        return self.inner.toeplitz(places, source)[:, (places[first:, None] - places).clamp(min=0)]

    def _adapted(self, channels: Tensor, layer: int, first: int) -> Tensor:
        """f (B, H, R, S) of channels (B, 2H, R, S); undefined where a key is later."""
        rows, keys = channels.shape[2:]
        parts = []
        for start in range(0, rows, ROWS):
            last = min(rows, start + ROWS)
            part = self._network(channels[:, :, start:last, : first + last], layer, first + start)
            parts.append(F.pad(part, (0, keys - first - last)))
        return torch.cat(parts, dim=2)

    def _network(self, channels: Tensor, layer: int, first: int) -> Tensor:
        half = self.config.kernel // 2
        if half:
            # Later keys count as zero, or the future would leak. The second `half` on the right
            # makes the hidden units that the output of the last key looks at.
            channels = F.pad(channels.tril(first), (half, 2 * half))
        hidden_weight, hidden_bias, out_weight, out_bias = self._of_layer(layer, channels.dtype)
        hidden = F.leaky_relu_(F.conv2d(channels, hidden_weight[:, :, None], hidden_bias))
        return F.conv2d(F.pad(hidden, (half, 0)), out_weight[:, :, None], out_bias)

    def _of_layer(self, layer: int, dtype: torch.dtype) -> list[Tensor]:
        """hidden_weight, hidden_bias, out_weight, out_bias of one layer."""
        parameters = (self.hidden_weight, self.hidden_bias, self.out_weight, self.out_bias)
        return [parameter[layer].to(dtype) for parameter in parameters]
