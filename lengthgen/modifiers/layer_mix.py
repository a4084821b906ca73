"""A mix of layers: every n-th one without positions and with all keys, the others with positions and, if wished, a window.

Source: RNoPE-SWA (Yang et al., arXiv 2501.18795, 2025: one layer of four without positions and with full attention, the others rotary
with a sliding window); iRoPE (Llama 4, 2025: every 4th layer without positions and with full attention).
Formula: layer l, from 0, is one of the n-th if (l + 1) mod every = 0. There the scheme does nothing (`positions` = true keeps it) and every
key is seen; in the others the scheme acts, and a query sees the last `window` tokens and the first `sinks`.
Deviations: Llama 4's other layers attend within chunks of 8192 tokens, here within a sliding window; its temperature in the layers
without positions is at inference alone (the retrofit log_n is like it). Only what acts on queries, keys or scores can be left out of a
layer: positions that enter at the input are refused.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Span
from lengthgen.config import dataclass_from
from lengthgen.config.plugins import About
from lengthgen.modifiers.base import Modifier
from lengthgen.modifiers.spans import both
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    every: int = 4  # layers every, 2 every, ... are the different ones, counted from 1
    positions: bool = False  # whether the scheme acts in these layers too
    window: int | None = (
        None  # tokens that a query of the other layers sees, itself included; null: all
    )
    sinks: int = 0  # first tokens that every query of the other layers sees besides

    def __post_init__(self):
        dataclass_from.check(
            self.every > 0, f"modifiers.layer_mix.every={self.every}: expected a positive integer"
        )
        dataclass_from.check(
            self.window is None or self.window > 0,
            f"modifiers.layer_mix.window={self.window}: expected a positive integer or null",
        )
        dataclass_from.check(
            self.sinks >= 0,
            f"modifiers.layer_mix.sinks={self.sinks}: expected 0 or a positive integer",
        )


class LayerMix(Modifier):
    """No parameters."""

    Config = Config
    about = About(
        "Yang et al. (RNoPE-SWA), arXiv 2501.18795; Llama 4 (iRoPE)",
        2025,
        "schemes that act on queries, keys or scores",
        ("float64 loop",),
    )
    stage = 1

    def __init__(self, config, inner):
        super().__init__(config, inner)
        dataclass_from.check(
            config.every <= self.dimensions.n_layers,
            f"modifiers.layer_mix.every={config.every}: the model has {self.dimensions.n_layers} layers, so none would be different; "
            f"expected at most {self.dimensions.n_layers}",
        )
        self.others = Span(config.window, config.sinks)
        for layer in range(self.dimensions.n_layers):
            self.span(layer)  # refuses here what cannot be put together

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        if inner.declaration.acts_on != "input":
            return None
        return "layer_mix leaves positions out of single layers; those of this scheme enter at the input, once for all layers"

    @property
    def declaration(self) -> Declaration:
        inner, config = super().declaration, self.config
        mixed = [str(layer) for layer in range(self.dimensions.n_layers) if self.different(layer)]
        sharing = (
            inner.sharing
            if config.positions
            else f"{inner.sharing}; nothing in layers {', '.join(mixed)} (from 0)"
        )
        window = (
            ""
            if config.window is None
            else f"; the last {config.window} tokens and {config.sinks} sinks in the layers with positions"
        )
        return dataclasses.replace(inner, sharing=sharing, tail=inner.tail + window)

    def different(self, layer: int) -> bool:
        """Whether `layer` is one of the n-th."""
        return (layer + 1) % self.config.every == 0

    def bare(self, layer: int) -> bool:
        """Whether the scheme does nothing in `layer`."""
        return self.different(layer) and not self.config.positions

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return (q, k) if self.bare(layer) else self.inner.rotate(q, k, positions, layer)

    def steer(self, q: Tensor, k: Tensor, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return (q, k) if self.bare(layer) else self.inner.steer(q, k, x, layer)

    def gates(self, x: Tensor, layer: int) -> Tensor | None:
        return None if self.bare(layer) else self.inner.gates(x, layer)

    def general(self, layer: int) -> bool:
        return not self.bare(layer) and self.inner.general(layer)

    def span(self, layer: int) -> Span | None:
        span = self.inner.span(layer)
        return span if self.different(layer) else both(span, self.others)

    def biases(self, positions: Tensor) -> list[Bias | None]:
        return [
            None if self.bare(layer) else bias
            for layer, bias in enumerate(self.inner.biases(positions))
        ]

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        bias = self.inner.toeplitz(offsets, layer)
        return torch.zeros_like(bias) if self.bare(layer) else bias
