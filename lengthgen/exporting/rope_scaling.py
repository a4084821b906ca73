"""Retrofits of a rotation as transformers' rope types, where these compute the same.

| retrofit | rope type | needs |
|---|---|---|
| position_interpolation | linear | a factor |
| ntk | default, with another base | alpha or a base |
| dynamic_ntk | dynamic | |
| yarn | yarn | a factor, ramp=index |
| llama3 | llama3 | a factor |
| longrope | longrope, short_factor = long_factor | start_tokens=0 |
| rope_zero_slow | proportional | |

A factor that follows the window at hand has no rope type but dynamic; that one keeps the base of
the longest window so far (lengthgen's follows each), so it is the same for a model that has read no
longer one. transformers scales cosines and sines, which is the temperature of scores squared, and
of the rotated channels alone.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lengthgen.exporting.traits import NoClassError, Rotation
from lengthgen.retrofits import (
    dynamic_ntk,
    llama3,
    longrope,
    ntk,
    position_interpolation,
    rope_zero_slow,
    yarn,
)
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes import rotary
from lengthgen.schemes.base import name_of


def rescaled(retrofit: Any, rotation: Rotation) -> Rotation:
    """The rotation under a retrofit around it. NoClassError where no rope type computes it."""
    name, pairs = name_of(type(retrofit)), rotation.spectrum.channels // 2
    if type(retrofit) not in ROPE_TYPES:
        raise NoClassError(f"retrofit {name}: transformers has no rope type that computes it")
    if retrofit.follows_length and type(retrofit) is not dynamic_ntk.DynamicNTK:
        raise NoClassError(
            f"retrofit {name}: its factor follows the window, which no rope type does; "
            "give retrofit.factor=NUMBER"
        )
    if rotation.spectrum.kept < pairs:
        raise NoClassError(f"retrofit {name}: rope types turn every pair, and the run's does not")
    changed = ROPE_TYPES[type(retrofit)](retrofit, rotation)
    if changed.sharpens and rotation.spectrum.channels < retrofit.dimensions.head_dim:
        raise NoClassError(
            f"retrofit {name}: transformers sharpens the rotated channels alone, lengthgen every "
            "score; only a rotation of the whole head is the same"
        )
    return changed


def _linear(retrofit: Any, rotation: Rotation) -> Rotation:
    factor = retrofit.config.factor
    return _scaled(retrofit, rotation, factor, rope_type="linear", factor=factor)


def _ntk(retrofit: Any, rotation: Rotation) -> Rotation:
    base, alpha = retrofit.config.base, retrofit.config.alpha
    spectrum = rotation.spectrum
    changed = replace(spectrum, base=base) if base is not None else spectrum.slowed(alpha)
    return replace(rotation, spectrum=changed)


def _dynamic(retrofit: Any, rotation: Rotation) -> Rotation:
    return _scaled(retrofit, rotation, 1, rope_type="dynamic", factor=retrofit.config.alpha)


def _yarn(retrofit: Any, rotation: Rotation) -> Rotation:
    config = retrofit.config
    if config.ramp != "index":
        raise NoClassError("retrofit yarn: transformers' ramp is that of retrofit.ramp=index")
    return _scaled(
        retrofit,
        rotation,
        config.factor,
        rope_type="yarn",
        factor=config.factor,
        beta_fast=config.fast,
        beta_slow=config.slow,
        attention_factor=retrofit.temperature(1) ** 0.5,
        original_max_position_embeddings=retrofit.dimensions.train_length,
    )


def _llama3(retrofit: Any, rotation: Rotation) -> Rotation:
    config = retrofit.config
    return _scaled(
        retrofit,
        rotation,
        config.factor,
        rope_type="llama3",
        factor=config.factor,
        low_freq_factor=config.low,
        high_freq_factor=config.high,
        original_max_position_embeddings=retrofit.dimensions.train_length,
    )


def _longrope(retrofit: Any, rotation: Rotation) -> Rotation:
    config, factors = retrofit.config, list(retrofit.factors)
    if config.start_tokens:
        raise NoClassError(
            f"retrofit longrope: retrofit.start_tokens={config.start_tokens} has no place in the "
            "rope type; expected 0"
        )
    return _scaled(
        retrofit,
        rotation,
        config.factor,
        rope_type="longrope",
        factor=config.factor,
        short_factor=factors,
        long_factor=factors,
        attention_factor=retrofit.temperature(1) ** 0.5,
        original_max_position_embeddings=retrofit.dimensions.train_length,
    )


def _zero_slow(retrofit: Any, rotation: Rotation) -> Rotation:
    spectrum = rotation.spectrum
    kept = rotary.within(spectrum.base, spectrum.channels, retrofit.period)
    return replace(rotation, spectrum=replace(spectrum, kept=kept))


def _scaled(retrofit: Any, rotation: Rotation, longer: float, /, **parameters: Any) -> Rotation:
    """longer: how many training lengths the window may have."""
    longest = int(longer * retrofit.dimensions.train_length)
    return replace(rotation, parameters=parameters, longest=longest)


ROPE_TYPES: dict[type[Retrofit], Callable[[Any, Rotation], Rotation]] = {
    position_interpolation.PositionInterpolation: _linear,
    ntk.NTK: _ntk,
    dynamic_ntk.DynamicNTK: _dynamic,
    yarn.YaRN: _yarn,
    llama3.Llama3: _llama3,
    longrope.LongRoPE: _longrope,
    rope_zero_slow.RoPEZeroSlow: _zero_slow,
}
