"""A hard window: in every layer a query sees the last W keys and nothing before.

Source: the windowed test of ALiBi by Chi et al. (Sandwich, ACL 2023); Han et al. (LM-Infinite,
2023) without its sinks.
Formula: query i sees key j where i - W < j <= i.
A scheme whose loss at 4 L is no lower than with W = L uses nothing farther away in any one layer;
if the hard window does not hurt it either, it is itself a window of W. Through n layers it still
reaches n (W - 1) tokens back: the matched protocol at length W is stricter.
"""

from dataclasses import dataclass

from lengthgen.attention.bias_forms import Span
from lengthgen.config.dataclass_from import limit
from lengthgen.config.plugins import About
from lengthgen.modifiers.base import Modifier
from lengthgen.modifiers.spans import both
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes.base import Scheme


@dataclass
class Config:
    window: int | None = None  # W: tokens that a query sees, itself included; null: train_length

    def __post_init__(self):
        limit(self, "retrofit", "> 0", "window")


class HardWindow(Retrofit):
    """Hides keys; changes no score."""

    Config = Config
    about = About(
        "Chi et al., ACL 2023; Han et al., arXiv 2308.16137, without sinks",
        2023,
        "any scheme",
        ("transformers", "float64 loop"),
    )

    def __init__(self, config, inner: Scheme):
        super().__init__(config, inner)
        self.window = config.window or self.dimensions.train_length

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        """It goes inside all modifiers, so that log-n scaling counts the visible keys."""
        inside = "retrofit hard_window goes inside the modifiers"
        return inside if isinstance(inner, Modifier) else None

    @property
    def tail(self) -> str:
        return f"no key is seen past offset {self.window - 1}"

    def span(self, layer: int) -> Span | None:
        return both(self.inner.span(layer), Span(self.window))
