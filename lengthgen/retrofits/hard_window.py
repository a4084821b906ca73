"""A hard band: in every layer a query sees the last W keys and nothing before. The reference that evidence needs.

Source: the band test for ALiBi of Chi et al. (Sandwich, ACL 2023); Han et al. (LM-Infinite, 2023) without its sinks.
Formula: query i sees key j where i - W < j <= i.
A scheme whose loss at 4 L is no lower than under a band of L does not use what is farther away in any one layer; if the band does
not hurt it either, it is a window of W. Through n layers a band still reaches n (W - 1) tokens back: a window cut from the text at W tokens
(the matched protocol at that length) is the stricter reference.
"""

import dataclasses
from dataclasses import dataclass

from lengthgen.attention.bias_forms import Span
from lengthgen.config import dataclass_from
from lengthgen.config.plugins import About
from lengthgen.modifiers.base import Modifier
from lengthgen.modifiers.spans import both
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    window: int | None = None  # W: tokens that a query sees, itself included; null: train_length

    def __post_init__(self):
        dataclass_from.check(
            self.window is None or self.window > 0,
            f"retrofit.window={self.window}: expected a positive integer or null",
        )


class HardWindow(Retrofit):
    """Hides keys; changes no score."""

    Config = Config
    about = About(
        "Chi et al., ACL 2023; Han et al., arXiv 2308.16137, without sinks",
        2023,
        "any scheme",
        ("transformers", "float64 loop"),
    )

    def __init__(self, config, inner):
        super().__init__(config, inner)
        self.seen = Span(config.window or self.dimensions.train_length)

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        """Goes inside all modifiers: log-n scaling counts the keys that are then seen."""
        return (
            "retrofit hard_window goes inside the modifiers"
            if isinstance(inner, Modifier)
            else None
        )

    @property
    def declaration(self) -> Declaration:
        return dataclasses.replace(
            super().declaration, tail=f"no key is seen past offset {self.seen.window - 1}"
        )

    def span(self, layer: int) -> Span | None:
        return both(self.inner.span(layer), self.seen)
