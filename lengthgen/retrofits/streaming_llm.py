"""StreamingLLM: a cache of the first few keys and the last, positions counted inside it.

Source: Xiao et al., "Efficient Streaming Language Models with Attention Sinks" (ICLR 2024, arXiv
2309.17453), and the authors' code, streaming_llm/kv_cache.py.
Formula: query i sees the first s keys and the last W, itself included. While i < s + W nothing
changes. Later the cache holds the sinks at positions 0 .. s - 1 and the last W keys at
s .. s + W - 1, the query being the last: key j of the window is still at the distance i - j, sink j
at (s + W - 1) - j. One pass over the window gives what a cache gives token by token, since each
key's state was computed as a query under the same rule.
Rotary schemes: towards a sink that the window has left, queries are turned as at position
s + W - 1. Biases are read at these distances; where the query's position matters too (FIRE),
queries past the cache stand at s + W - 1.
s + W = L, the training length, unless given, so that no distance is new. The authors cut the cache
after each token: their recent_size is W - 1. Positions that enter at the input are refused: they
stay in a key's state and cannot be counted anew.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Rows, Toeplitz
from lengthgen.config.dataclass_from import check, limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.sinks import FarSinks, indices
from lengthgen.schemes.base import Scheme


@dataclass
class Config:
    sinks: int = 4  # s: first keys that stay in the cache
    # W: last keys in the cache, the query's own included; null: train_length - sinks
    window: int | None = None

    def __post_init__(self):
        limit(self, "retrofit", "> 0", "window")
        limit(self, "retrofit", ">= 0", "sinks")


class StreamingLLM(FarSinks):
    Config = Config
    about = About(
        "Xiao et al., ICLR 2024, arXiv 2309.17453",
        2023,
        "rotary schemes, biases of the offset, none",
        ("a cache, token by token",),
    )

    def __init__(self, config, inner: Scheme):
        L = inner.dimensions.train_length
        window = config.window or L - config.sinks
        check(window > 0, f"retrofit.sinks={config.sinks}: expected fewer than train_length = {L}")
        super().__init__(config, inner, window, config.sinks)

    @property
    def structure(self) -> str:
        if self.inner.structure == "toeplitz" and self.sinks:
            return "rows"
        return "general" if self.turns and self.sinks else self.inner.structure

    @property
    def tail(self) -> str:
        return (
            f"a cache of the first {self.sinks} and the last {self.window} keys,"
            " positions counted inside it"
        )

    @property
    def query_at(self) -> int:
        return self.sinks + self.window - 1

    def sinks_at(self, device: torch.device) -> Tensor:
        return torch.arange(self.sinks, device=device)

    def changed(self, bias: Bias, length: int) -> Bias:
        P = self.query_at
        if length <= P or (isinstance(bias, Toeplitz) and not self.sinks):
            return bias

        def block(first: int, last: int) -> Tensor:
            rows = bias.block(first, last)
            i, j = indices(first, last, rows.device)
            distances = torch.where(self.is_far(i, j), P - j, i - j).clamp(0, P)
            # (H, s + W): the bias of a query at the end of a full cache, by distance.
            full_cache = bias.block(P, P + 1)[:, 0].flip(1)
            return torch.where(i < P, rows, full_cache[:, distances])

        return Rows(block)
