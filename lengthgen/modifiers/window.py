"""Sliding-window attention: a query sees the last W tokens, itself included, and the first few (the sinks), in all layers or in some.

Source: Child et al. (2019) and Beltagy et al. (Longformer, 2020) for the window, Jiang et al. (Mistral, 2023) for its use in decoders;
Xiao et al. (StreamingLLM, ICLR 2024) for the sinks.
Formula: query i sees key j where i - W < j <= i or j < sinks.
A window is for one layer: n layers reach n (W - 1) tokens back, and as much farther as a scheme's own convolutions over neighbouring
tokens or keys do (PaTH, selective RoPE, DAPE V2): which keys are seen is all that it decides. What is past the trained offsets is then
never asked of the scheme, except by sinks, whose offset grows with the position (the retrofit streaming_llm re-indexes them; in training
nothing does).
"""

import dataclasses
from dataclasses import dataclass

from lengthgen.attention.bias_forms import Span
from lengthgen.config import dataclass_from
from lengthgen.config.plugins import About
from lengthgen.modifiers.base import Modifier
from lengthgen.modifiers.spans import both
from lengthgen.schemes.base import Declaration


@dataclass
class Config:
    window: int | None = None  # tokens that a query sees, itself included; null: train_length / 4
    sinks: int = 0  # first tokens that every query sees besides
    layers: list[int] | None = None  # layers with the window, from 0, for example [0,1,2]; null: all

    def __post_init__(self):
        dataclass_from.check(
            self.window is None or self.window > 0,
            f"modifiers.window.window={self.window}: expected a positive integer or null",
        )
        dataclass_from.check(
            self.sinks >= 0,
            f"modifiers.window.sinks={self.sinks}: expected 0 or a positive integer",
        )


class Window(Modifier):
    """No parameters."""

    Config = Config
    about = About(
        "Beltagy et al. (Longformer), 2020; Jiang et al. (Mistral), 2023",
        2020,
        "any scheme",
        ("transformers", "float64 loop"),
    )
    stage = 2

    def __init__(self, config, inner):
        super().__init__(config, inner)
        n_layers = self.dimensions.n_layers
        self.layers = list(range(n_layers)) if config.layers is None else sorted(set(config.layers))
        dataclass_from.check(
            bool(self.layers) and self.layers[0] >= 0 and self.layers[-1] < n_layers,
            f"modifiers.window.layers={config.layers}: expected some of the layers 0 to {n_layers - 1}",
        )
        self.seen = Span(config.window or max(1, self.dimensions.train_length // 4), config.sinks)
        for layer in self.layers:
            both(super().span(layer), self.seen)  # refuses here what cannot be put together

    @property
    def declaration(self) -> Declaration:
        inner = super().declaration
        sinks = f" and the first {self.seen.sinks}" if self.seen.sinks else ""
        where = (
            "every layer"
            if len(self.layers) == self.dimensions.n_layers
            else f"layers {', '.join(map(str, self.layers))}"
        )
        return dataclasses.replace(
            inner, tail=f"{inner.tail}; {where} sees the last {self.seen.window} tokens{sinks} only"
        )

    def span(self, layer: int) -> Span | None:
        span = super().span(layer)
        return both(span, self.seen) if layer in self.layers else span
