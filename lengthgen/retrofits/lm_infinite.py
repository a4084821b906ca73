"""LM-Infinite: a query sees the last L keys and the first few, none as farther than L.

Source: Han et al., "LM-Infinite" (NAACL 2024, arXiv 2308.16137), and the authors'
models/lambda_attention.py.
Formula: query i sees key j where i - L < j <= i or j < sinks (the Lambda mask), at the distance
min(i - j, L). Rotary schemes: towards a sink that the window has left, queries are turned as at
position L and keys not at all. Biases: those of the offset min(i - j, L).
L, the training length, is window and ceiling at once, as in the authors' scripts; they use 10 to
100 sinks. The ceiling is one past the last trained offset: a per-offset table reads its tail policy
there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Rows, Toeplitz
from lengthgen.config.dataclass_from import limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.sinks import FarSinks, indices
from lengthgen.schemes.base import Scheme


@dataclass
class Config:
    # L: keys that a query sees, itself included, and the distance that none exceeds;
    # null: train_length
    window: int | None = None
    sinks: int = 10  # first keys that every query sees besides

    def __post_init__(self):
        limit(self, "retrofit", "> 0", "window")
        limit(self, "retrofit", ">= 0", "sinks")


class LMInfinite(FarSinks):
    Config = Config
    about = About(
        "Han et al., NAACL 2024, arXiv 2308.16137",
        2023,
        "rotary schemes, biases of the offset, none",
        ("float64 loop",),
    )

    def __init__(self, config, inner: Scheme):
        window = config.window or inner.dimensions.train_length
        super().__init__(config, inner, window, config.sinks)

    @property
    def tail(self) -> str:
        L = self.window
        return f"the last {L} and the first {self.sinks} keys, none farther than {L}"

    @property
    def query_at(self) -> int:
        return self.window

    def sinks_at(self, device: torch.device) -> Tensor:
        return torch.zeros(self.sinks, dtype=torch.int64, device=device)

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        return self.inner.toeplitz(offsets.clamp(max=self.window), layer)

    def changed(self, bias: Bias, length: int) -> Bias:
        if isinstance(bias, Toeplitz):
            offsets = torch.arange(bias.vector.shape[1], device=bias.vector.device)
            return Toeplitz(bias.vector.index_select(1, offsets.clamp(max=self.window)))

        def block(first: int, last: int) -> Tensor:
            rows = bias.block(first, last)
            i, j = indices(first, last, rows.device)
            # A row's own bias at distance L: that of the key L positions before its query.
            at_ceiling = (i - self.window).clamp(min=0).expand(rows.shape[0], -1, 1)
            return torch.where(i - j > self.window, rows.gather(2, at_ceiling), rows)

        return Rows(block)
