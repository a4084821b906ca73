"""LM-Infinite: a query sees the last L keys and the first few, and no key is read as farther than L.

Source: Han et al., "LM-Infinite: Zero-Shot Extreme Length Generalization for Large Language Models" (NAACL 2024, arXiv 2308.16137), and
models/lambda_attention.py of the authors' repository.
Formula: query i sees key j where i - L < j <= i or j < sinks (the Lambda mask), and reads it at the distance min(i - j, L).
Rotary schemes: towards a sink that the window has left, queries are turned as at position L and keys not at all. Biases of the offset:
those of the offset min(i - j, L).
L is the training length, the window and the ceiling at once, as in the authors' scripts; sinks: 10 to 100 there, with similar effect.
The ceiling L is one past the farthest offset L - 1 of training: a per-offset table reads its tail policy there.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Rows, Span, Toeplitz
from lengthgen.config import dataclass_from
from lengthgen.config.plugins import About
from lengthgen.retrofits.sinks import FarSinks
from lengthgen.schemes.base import Declaration


@dataclass
class Config:
    window: int | None = (
        None  # L: keys that a query sees, itself included, and the distance that none exceeds; null: train_length
    )
    sinks: int = 10  # first keys that every query sees besides

    def __post_init__(self):
        dataclass_from.check(
            self.window is None or self.window > 0,
            f"retrofit.window={self.window}: expected a positive integer or null",
        )
        dataclass_from.check(
            self.sinks >= 0, f"retrofit.sinks={self.sinks}: expected 0 or a positive integer"
        )


class LMInfinite(FarSinks):
    """The Lambda mask with its distance ceiling."""

    Config = Config
    about = About(
        "Han et al., NAACL 2024, arXiv 2308.16137",
        2023,
        "rotary schemes, biases of the offset, none",
        ("float64 loop",),
    )

    def __init__(self, config, inner):
        super().__init__(
            config, inner, Span(config.window or inner.dimensions.train_length, config.sinks)
        )

    @property
    def declaration(self) -> Declaration:
        L = self.seen.window
        return dataclasses.replace(
            super().declaration,
            tail=f"the last {L} and the first {self.seen.sinks} keys, none farther than {L}",
        )

    @property
    def query_at(self) -> int:
        return self.seen.window

    def sinks_at(self, device: torch.device) -> Tensor:
        return torch.zeros(self.seen.sinks, dtype=torch.int64, device=device)

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        return self.inner.toeplitz(offsets.clamp(max=self.seen.window), layer)

    def biases(self, positions: Tensor) -> list[Bias | None]:
        """Asked once for each different object: layers that share a bias go on sharing it."""
        inner = self.inner.biases(positions)
        changed = {id(bias): self._ceiling(bias) for bias in inner}
        return [changed[id(bias)] for bias in inner]

    def _ceiling(self, bias: Bias | None) -> Bias | None:
        if bias is None:
            return None
        if isinstance(bias, Toeplitz):
            offsets = torch.arange(bias.vector.shape[1], device=bias.vector.device)
            return Toeplitz(bias.vector.index_select(1, offsets.clamp(max=self.seen.window)))

        def block(first: int, last: int) -> Tensor:
            rows = bias.block(first, last)
            i, j = (
                torch.arange(first, last, device=rows.device)[:, None],
                torch.arange(last, device=rows.device),
            )
            at_ceiling = (i - self.seen.window).clamp(min=0).expand(rows.shape[0], -1, 1)
            return torch.where(i - j > self.seen.window, rows.gather(2, at_ceiling), rows)

        return Rows(block)
