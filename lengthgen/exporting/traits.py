"""What of a trained model a class of `transformers` must express, and what none of them can.

Positions enter in one of four ways: a rotation of queries and keys, ALiBi's slopes, vectors added
to the token embeddings, or not at all. Modifiers may take them out of some layers, and let a layer
see a window only. Every other scheme or modifier has no class there.

Shape letters: T positions, E width, D head size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.errors import ConfigError
from lengthgen.model import ModelConfig
from lengthgen.schemes import rotary


@dataclass(frozen=True)
class Rotation:
    """Queries and keys are turned by their position."""

    spectrum: rotary.Spectrum
    layout: str  # of rotary.LAYOUTS
    # of a retrofit (rope_scaling.py): transformers' rope parameters, and the window it is for
    parameters: Mapping[str, Any] = field(default_factory=dict)
    longest: int | None = None

    @property
    def sharpens(self) -> bool:
        """Whether scores are multiplied as well."""
        return self.parameters.get("attention_factor", 1.0) != 1.0

    def order(self, head_dim: int) -> Tensor:
        """(D,): the channels of a head in the order of layout half_split."""
        R, order = self.spectrum.channels, torch.arange(head_dim)
        if self.layout == "interleaved":
            order[:R] = torch.cat((torch.arange(0, R, 2), torch.arange(1, R, 2)))
        return order


@dataclass(frozen=True)
class Slopes:
    """ALiBi: a penalty proportional to the distance; the last head's slope is 2^-max_bias."""

    max_bias: float


@dataclass(frozen=True)
class InputTable:
    """Vectors added to the token embeddings, these times `embedding_scale`."""

    rows: Callable[[int], Tensor]  # a length T -> (T, E)
    longest: int | None = None  # positions that it has; None: any number
    embedding_scale: float = 1.0


Positions = Rotation | Slopes | InputTable | None


@dataclass(frozen=True)
class Traits:
    """A trained model in these terms."""

    model: ModelConfig
    vocab_size: int
    train_length: int
    label: str  # of the scheme and its modifiers, for messages
    positions: Positions
    silent: tuple[bool, ...]  # layers in which positions do not act
    spans: tuple[Span | None, ...]  # what a query sees in each layer; None: all before it
    begin: int = field(kw_only=True)  # the id that begins every document

    @property
    def head_dim(self) -> int:
        return self.model.width // self.model.n_heads


class NoClassError(ConfigError):
    """No class of transformers computes what this model does."""
