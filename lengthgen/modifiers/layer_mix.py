"""A mix of layers: every n-th has no positions and sees all keys; the others may have a window.

Source: RNoPE-SWA (Yang et al., arXiv 2501.18795, 2025: one layer in four without positions and with
full attention, the others rotary with a sliding window); iRoPE (Llama 4, 2025: every 4th likewise).
Formula: layer l, from 0, is an n-th one if (l + 1) mod every = 0. There the scheme does nothing
(unless `positions` is true) and every key is seen. In the others the scheme acts, and a query sees
the last `window` tokens and the first `sinks`.
Deviations: Llama 4's other layers attend within chunks of 8192 tokens, here within a sliding
window; its temperature is for inference only (see the retrofit log_n).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Span
from lengthgen.config.dataclass_from import check, limit
from lengthgen.config.plugins import About
from lengthgen.modifiers.base import Silencer
from lengthgen.modifiers.spans import both
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    every: int = 4  # layers every, 2 every, ... are the different ones, counted from 1
    positions: bool = False  # whether the scheme acts in these layers too
    # tokens that a query of the other layers sees, itself included; null: all
    window: int | None = None
    sinks: int = 0  # first tokens that every query of the other layers sees besides

    def __post_init__(self):
        limit(self, "modifiers.layer_mix", "> 0", "every", "window")
        limit(self, "modifiers.layer_mix", ">= 0", "sinks")


class LayerMix(Silencer):
    """No parameters."""

    Config = Config
    about = About(
        "Yang et al. (RNoPE-SWA), arXiv 2501.18795; Llama 4 (iRoPE)",
        2025,
        "schemes that act on queries, keys or scores",
        ("float64 loop",),
    )
    stage = 1

    def __init__(self, config, inner: Scheme):
        super().__init__(config, inner)
        n_layers = self.dimensions.n_layers
        check(
            config.every <= n_layers,
            f"modifiers.layer_mix.every={config.every}: the model has {n_layers} layers, so none"
            f" would be different; expected at most {n_layers}",
        )
        self.others = Span(config.window, config.sinks)
        for layer in range(n_layers):
            self.span(layer)  # raises now if the two spans do not combine

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        if inner.declaration.acts_on != "input":
            return None
        return (
            "layer_mix leaves positions out of single layers; those of this scheme enter at the"
            " input, once for all layers"
        )

    @property
    def declaration(self) -> Declaration:
        inner = super().declaration
        if self.config.positions:
            return inner
        layers = filter(self.different, range(self.dimensions.n_layers))
        nothing = f"nothing in layers {', '.join(map(str, layers))} (from 0)"
        return replace(inner, sharing=f"{inner.sharing}; {nothing}")

    @property
    def tail(self) -> str:
        window, sinks = self.config.window, self.config.sinks
        if window is None:
            return super().tail
        visible = f"the last {window} tokens and {sinks} sinks"
        return f"{super().tail}; {visible} in the layers with positions"

    def different(self, layer: int) -> bool:
        """Whether `layer` is one of the n-th."""
        return (layer + 1) % self.config.every == 0

    def silent(self, layer: int) -> bool:
        return self.different(layer) and not self.config.positions

    def span(self, layer: int) -> Span | None:
        span = self.inner.span(layer)
        return span if self.different(layer) else both(span, self.others)

    def biases(self, positions: Tensor) -> list[Bias | None]:
        biases = self.inner.biases(positions)
        return [None if self.silent(layer) else bias for layer, bias in enumerate(biases)]

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        bias = self.inner.toeplitz(offsets, layer)
        return torch.zeros_like(bias) if self.silent(layer) else bias
