"""Sliding-window attention: a query sees the last W tokens and the first few (the sinks).

Source: Child et al. (2019) and Beltagy et al. (Longformer, 2020) for the window, Jiang et al.
(Mistral, 2023) for its use in decoders; Xiao et al. (StreamingLLM, ICLR 2024) for the sinks.
Formula: query i sees key j where i - W < j <= i or j < sinks.
The window holds for one layer: n layers reach n (W - 1) tokens back, and farther where a scheme
convolves over neighbours (PaTH, selective RoPE, DAPE V2). Only sinks are at offsets past the
window, which grow with the position (the retrofit streaming_llm bounds them).
"""

from dataclasses import dataclass

from lengthgen.attention.bias_forms import Span
from lengthgen.config.dataclass_from import check, limit
from lengthgen.config.plugins import About
from lengthgen.modifiers.base import Modifier
from lengthgen.modifiers.spans import both
from lengthgen.schemes.base import Scheme


@dataclass
class Config:
    window: int | None = None  # tokens that a query sees, itself included; null: train_length / 4
    sinks: int = 0  # first tokens that every query sees besides
    # layers with the window, from 0, for example [0,1,2]; null: all
    layers: list[int] | None = None

    def __post_init__(self):
        limit(self, "modifiers.window", "> 0", "window")
        limit(self, "modifiers.window", ">= 0", "sinks")


class SlidingWindow(Modifier):
    """No parameters."""

    Config = Config
    about = About(
        "Beltagy et al. (Longformer), 2020; Jiang et al. (Mistral), 2023",
        2020,
        "any scheme",
        ("transformers", "float64 loop"),
    )
    stage = 2

    def __init__(self, config, inner: Scheme):
        super().__init__(config, inner)
        n_layers = self.dimensions.n_layers
        self.layers = list(range(n_layers)) if config.layers is None else sorted(set(config.layers))
        check(
            bool(self.layers) and self.layers[0] >= 0 and self.layers[-1] < n_layers,
            f"modifiers.window.layers={config.layers}: "
            f"expected some of the layers 0 to {n_layers - 1}",
        )
        self.seen = Span(config.window or max(1, self.dimensions.train_length // 4), config.sinks)
        for layer in self.layers:
            self.span(layer)  # raises now if the two spans do not combine

    @property
    def tail(self) -> str:
        sinks = f" and the first {self.seen.sinks}" if self.seen.sinks else ""
        layers = f"layers {', '.join(map(str, self.layers))}"
        where = "every layer" if len(self.layers) == self.dimensions.n_layers else layers
        return f"{super().tail}; {where} sees the last {self.seen.window} tokens{sinks} only"

    def span(self, layer: int) -> Span | None:
        span = super().span(layer)
        return both(span, self.seen) if layer in self.layers else span
