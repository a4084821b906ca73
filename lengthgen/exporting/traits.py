"""What of a trained model a class of `transformers` must express, and what none of them can.

Positions enter in one of four ways: a rotation of queries and keys, ALiBi's slopes, vectors added
to the token embeddings, or not at all. Modifiers may take them out of some layers, and let a layer
see a window only. Every other scheme or modifier has no class there.

Shape letters: T positions, E width, D head size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.errors import ConfigError
from lengthgen.model import ModelConfig, Transformer
from lengthgen.modifiers import drope, layer_mix, window
from lengthgen.schemes import (
    alibi,
    hope_period,
    learned,
    none,
    p_rope,
    rope,
    rope_partial,
    rotary,
    sinusoidal,
)
from lengthgen.schemes.base import Scheme, name_of


@dataclass(frozen=True)
class Rotation:
    """Queries and keys are turned by their position."""

    spectrum: rotary.Spectrum
    layout: str  # of rotary.LAYOUTS

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


def traits_of(model: Transformer) -> Traits:
    """NoClassError if the scheme or a modifier is one that no class has."""
    scheme, config = model.scheme, model.config
    layers = range(config.n_layers)
    label = label_of(scheme)
    positions, silent = _without_modifiers(scheme, label)
    return Traits(
        model=config,
        vocab_size=model.embedding.num_embeddings,
        train_length=scheme.dimensions.train_length,
        label=label,
        positions=positions,
        silent=tuple(silent(layer) for layer in layers),
        spans=tuple(scheme.span(layer) for layer in layers),
        begin=model.embedding.num_embeddings - 1,
    )


def label_of(scheme: Scheme) -> str:
    """`rope+window`: the scheme and what is around it, innermost first."""
    inner = getattr(scheme, "inner", None)
    own = name_of(type(scheme))
    return own if inner is None else f"{label_of(inner)}+{own}"


def _without_modifiers(scheme: Scheme, label: str) -> tuple[Positions, Callable[[int], bool]]:
    kind: Any = type(scheme)  # exactly: a subclass may do anything
    around: Any = scheme
    if kind is drope.DroPE and around.dropped:
        return None, lambda layer: False
    if kind is layer_mix.LayerMix:
        positions, silent = _without_modifiers(around.inner, label)
        return positions, lambda layer: silent(layer) or around.silent(layer)
    if kind is window.SlidingWindow:  # its window is in `span`
        return _without_modifiers(around.inner, label)
    if kind not in POSITIONS:
        raise NoClassError(
            f"{label}: no class of transformers computes what {name_of(kind)} does to "
            f"{scheme.declaration.acts_on}; --own-code exports it with lengthgen's code"
        )
    return POSITIONS[kind](scheme), lambda layer: False


def _rotation(scheme) -> Rotation:
    return Rotation(scheme.spectrum, scheme.config.layout)


def _slopes(scheme: alibi.ALiBi) -> Slopes:
    return Slopes(scheme.config.max_bias)


def _rows(scheme: Scheme) -> Callable[[int], Tensor]:
    @torch.no_grad()
    def rows(length: int) -> Tensor:
        nothing = torch.zeros(1, length, scheme.dimensions.width)
        return scheme.embed(nothing, scheme.positions(length, nothing.device))[0]

    return rows


def _learned(scheme: learned.Learned) -> InputTable:
    # `resample` reads the same rows elsewhere in a longer window, which a table cannot.
    ends = scheme.config.tail in ("refuse", "resample")
    return InputTable(_rows(scheme), len(scheme.table) if ends else None)


def _sinusoidal(scheme: sinusoidal.Sinusoidal) -> InputTable:
    scale = scheme.dimensions.width**0.5 if scheme.config.scale_embedding else 1.0
    return InputTable(_rows(scheme), embedding_scale=scale)


POSITIONS: dict[type[Scheme], Callable[..., Positions]] = {
    rope.RoPE: _rotation,
    rope_partial.RoPEPartial: _rotation,
    p_rope.PRoPE: _rotation,
    hope_period.HoPEPeriod: _rotation,
    alibi.ALiBi: _slopes,
    learned.Learned: _learned,
    sinusoidal.Sinusoidal: _sinusoidal,
    none.NoPE: lambda scheme: None,
}
