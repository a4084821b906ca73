"""The positions inside a model's own code, as a scheme that only says what is known of them."""

from dataclasses import dataclass

from lengthgen.attention.bias_forms import Span
from lengthgen.errors import ConfigError
from lengthgen.schemes.base import Declaration, Dimensions, Scheme


@dataclass
class NoOptions:
    """A model's own code has no options."""


class AsReleased(Scheme):
    """Stands for the positions inside a model's own code."""

    Config = NoOptions

    def __init__(self, dimensions: Dimensions, described: str, longest: int | None, whole: bool):
        """longest: tokens that its code has rows of positions for; None: any.

        whole: logits depend on how long the whole window is.
        """
        super().__init__(NoOptions(), dimensions)
        self.described, self.longest, self.whole = described, longest, whole

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper=f"transformers, {self.described}",
            year=2026,
            acts_on="scores",
            sharing="as the model's own code does",
            prefix_consistent=not self.whole,
            shift_invariant=False,
            trained_reach=f"offset {self.dimensions.train_length - 1}",
            tail="what the model's own code does",
        )

    @property
    def structure(self) -> str:
        return "general"

    def span(self, layer: int) -> Span | None:
        raise ConfigError("positions=as_released: the model's own code decides which keys are seen")

    def refusal(self, length: int) -> str | None:
        if self.longest is None or length <= self.longest:
            return None
        return (
            f"the model's own code has {self.longest} rows of positions, and the window has "
            f"{length} tokens"
        )
