"""StreamingLLM: a cache of the first few keys and the last ones, with positions counted inside the cache.

Source: Xiao et al., "Efficient Streaming Language Models with Attention Sinks" (ICLR 2024, arXiv 2309.17453), and the authors' code,
streaming_llm/kv_cache.py.
Formula: query i sees the first s keys and the last W, itself included. While i < s + W the cache holds everything and nothing changes.
After that, the cache holds the sinks at positions 0 .. s - 1 and the last W keys at s .. s + W - 1, the query being the last: key j of the
window is still at the distance i - j, sink j at (s + W - 1) - j, whatever i.
What is computed: one pass over the whole window in which every layer's query i sees these keys at these distances. A key's own state was
computed when it was the query, under the same rule: so this is exactly what the text, fed one token at a time through such a cache, gives.
Rotary schemes: towards a sink that the window has left, queries are turned as at position s + W - 1. Biases of the offset: read at these
distances; those of the query's position as well (FIRE): queries past the cache stand at s + W - 1.
s + W = L, the training length, unless given, so that no distance is new. The authors' cache is cut after each token: their
recent_size is W - 1. Positions that enter at the input are refused: a key's state holds its position for good, and cannot be re-indexed.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Rows, Span, Toeplitz
from lengthgen.config import dataclass_from
from lengthgen.config.plugins import About
from lengthgen.errors import ConfigError
from lengthgen.retrofits.sinks import FarSinks
from lengthgen.schemes.base import Declaration


@dataclass
class Config:
    sinks: int = 4  # s: first keys that stay in the cache
    window: int | None = (
        None  # W: last keys in the cache, the query's own included; null: train_length - sinks
    )

    def __post_init__(self):
        dataclass_from.check(
            self.sinks >= 0, f"retrofit.sinks={self.sinks}: expected 0 or a positive integer"
        )
        dataclass_from.check(
            self.window is None or self.window > 0,
            f"retrofit.window={self.window}: expected a positive integer or null",
        )


class StreamingLLM(FarSinks):
    """Sinks and a window, at their positions in the cache."""

    Config = Config
    about = About(
        "Xiao et al., ICLR 2024, arXiv 2309.17453",
        2023,
        "rotary schemes, biases of the offset, none",
        ("a cache, token by token",),
    )

    def __init__(self, config, inner):
        window = config.window or inner.dimensions.train_length - config.sinks
        if window < 1:
            raise ConfigError(
                f"retrofit.sinks={config.sinks}: expected fewer than train_length = {inner.dimensions.train_length}"
            )
        super().__init__(config, inner, Span(window, config.sinks))

    @property
    def declaration(self) -> Declaration:
        declared, seen = super().declaration, self.seen
        structure = (
            "rows" if declared.structure == "toeplitz" and seen.sinks else declared.structure
        )
        tail = f"a cache of the first {seen.sinks} and the last {seen.window} keys, positions counted inside it"
        return dataclasses.replace(declared, structure=structure, tail=tail)

    @property
    def query_at(self) -> int:
        return self.seen.sinks + self.seen.window - 1

    def sinks_at(self, device: torch.device) -> Tensor:
        return torch.arange(self.seen.sinks, device=device)

    def biases(self, positions: Tensor) -> list[Bias | None]:
        """Asked once for each different object: layers that share a bias go on sharing it."""
        inner = self.inner.biases(positions)
        changed = {id(bias): self._cached(bias, positions.numel()) for bias in inner}
        return [changed[id(bias)] for bias in inner]

    def _cached(self, bias: Bias | None, length: int) -> Bias | None:
        if (
            bias is None
            or length <= self.query_at
            or (isinstance(bias, Toeplitz) and not self.seen.sinks)
        ):
            return bias

        def block(first: int, last: int) -> Tensor:
            rows = bias.block(first, last)
            i, j = (
                torch.arange(first, last, device=rows.device)[:, None],
                torch.arange(last, device=rows.device),
            )
            distances = torch.where(self.is_far(i, j), self.query_at - j, i - j).clamp(
                0, self.query_at
            )
            return torch.where(i < self.query_at, rows, self._in_full_cache(bias)[:, distances])

        return Rows(block)

    def _in_full_cache(self, bias: Bias) -> Tensor:
        """(H, s + W): the bias of a query at the end of a full cache, by distance."""
        return bias.block(self.query_at, self.query_at + 1)[:, 0].flip(1)
