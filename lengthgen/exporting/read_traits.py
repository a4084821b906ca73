"""A trained model's traits: its positions by the class of its scheme, modifiers and retrofit.

Shape letters: T positions, E width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lengthgen.exporting import rope_scaling
from lengthgen.exporting.traits import InputTable, NoClassError, Positions, Rotation, Slopes, Traits
from lengthgen.model import Transformer
from lengthgen.modifiers import drope, layer_mix, window
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes import (
    alibi,
    hope_period,
    learned,
    none,
    p_rope,
    rope,
    rope_partial,
    sinusoidal,
)
from lengthgen.schemes.base import Scheme, name_of
from lengthgen.schemes.wrapper import Wrapper


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
    if type(scheme) is Wrapper:  # of a training that went on (runs/extending.py): nothing itself
        return label_of(scheme.inner)
    own = name_of(type(scheme))
    return own if inner is None else f"{label_of(inner)}+{own}"


def positions_of(scheme: Scheme, label: str) -> Positions:
    """How positions enter. NoClassError where no class of transformers has that way."""
    return _without_modifiers(scheme, label)[0]


def _without_modifiers(scheme: Scheme, label: str) -> tuple[Positions, Callable[[int], bool]]:
    kind: Any = type(scheme)  # exactly: a subclass may do anything
    around: Any = scheme
    if kind is Wrapper:
        return _without_modifiers(around.inner, label)
    if kind is drope.DroPE and around.dropped:
        return None, lambda layer: False
    if kind is layer_mix.LayerMix:
        positions, silent = _without_modifiers(around.inner, label)
        return positions, lambda layer: silent(layer) or around.silent(layer)
    if kind is window.SlidingWindow:  # its window is in `span`
        return _without_modifiers(around.inner, label)
    if isinstance(scheme, Retrofit) and isinstance(inner := _inner(scheme, label), Rotation):
        return rope_scaling.rescaled(scheme, inner), lambda layer: False
    if kind not in POSITIONS:
        raise NoClassError(
            f"{label}: no class of transformers computes what {name_of(kind)} does to "
            f"{scheme.declaration.acts_on}; --own-code exports it with lengthgen's code"
        )
    return POSITIONS[kind](scheme), lambda layer: False


def _inner(retrofit: Retrofit, label: str) -> Positions:
    """What the retrofit is around. A rotary retrofit wraps the scheme itself, inside modifiers."""
    return _without_modifiers(retrofit.inner, label)[0]


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
