"""Randomised positions: a window's tokens get sorted random positions from a longer range.

Source: Ruoss et al., "Randomized positional encodings boost length generalization of Transformers"
(ACL 2023, arXiv 2305.16843), section 3; google-deepmind/randomized_positional_encodings,
models/positional_encodings.py.
Formula: draw T of 0 .. M - 1 without replacement, sort them, and give them to `inner` in place of
0 .. T - 1. Training on short windows then meets every position and offset below M = max_position;
2,048 in the paper, whose longest evaluation is 500.

One draw serves all sequences of a batch, in evaluation too. As in the official code schemes that
act in attention get a draw per layer, the same for queries and keys (per_layer_draws=false: one for
the whole pass); those at the input have one. An evaluation averages `evaluation_draws` draws, each
a function of its number, the length and the layer.

inner: any scheme without gates or scores of its own. It is built for training windows of M tokens:
learned has M rows. A toeplitz bias is computed for all offsets below M and then depends on the row,
so it runs as `rows`. Windows longer than M are refused.
Deviation: ALiBi has no half step to tell the sides apart, as the causal mask does that; the
official code has no causal mask.
"""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Rows
from lengthgen.config.dataclass_from import check, limit
from lengthgen.errors import ConfigError
from lengthgen.schemes.base import Declaration
from lengthgen.schemes.wrapper import Wrapper, inner_options, inner_scheme


@dataclass
class Config:
    # the scheme that gets random positions: rope, alibi, learned, t5_bias, sinusoidal, fire, ...
    inner: str = "rope"
    inner_options: dict[str, Any] = field(default_factory=dict)  # its options; {} = its defaults
    # M: positions are below it, no window is longer; null: 8 * train_length
    max_position: int | None = None
    # a draw for every layer, as the official code has it; false: one for the whole pass
    per_layer_draws: bool = True
    evaluation_draws: int = 4  # evaluations of a window that are averaged

    def __post_init__(self):
        limit(self, "scheme", "> 0", "evaluation_draws")

    def at_length(self, train_length: int) -> dict[str, Any]:
        M = 8 * train_length if self.max_position is None else self.max_position
        return {"inner_options": inner_options(self, M)}


class Randomised(Wrapper):
    """No parameters but inner's. Positions are (n_layers, T), a draw for each layer, or (T,)."""

    Config = Config

    def __init__(self, config, dimensions):
        M = 8 * dimensions.train_length if config.max_position is None else config.max_position
        check(
            dimensions.train_length <= M,
            f"scheme.max_position={M}: expected at least train_length = {dimensions.train_length}",
        )
        inner = inner_scheme(config, dataclasses.replace(dimensions, train_length=M))
        acts_on = inner.declaration.acts_on
        check(
            inner.structure in ("none", "toeplitz", "rows") and acts_on != "nothing",
            f"scheme.inner={config.inner}: expected a scheme of positions alone, "
            "whose scores the text does not change",
        )
        super().__init__(config, inner)
        self.dimensions, self.max_position, self.draw = dimensions, M, 0
        self._draws_in_layers = config.per_layer_draws and acts_on != "input"

    @property
    def structure(self) -> str:
        return "none" if self.inner.structure == "none" else "rows"

    @property
    def declaration(self) -> Declaration:
        inner, name = self.inner.declaration, self.config.inner
        drawn = "layer" if self._draws_in_layers else "pass"
        return dataclasses.replace(
            inner,
            paper="Ruoss et al., ACL 2023, arXiv 2305.16843, section 3",
            year=2023,
            sharing=f"{name}: {inner.sharing}; positions drawn for each {drawn}",
            prefix_consistent=False,
            trained_reach=f"random positions below {self.max_position}; "
            f"{name}: {inner.trained_reach}",
            tail=f"refuse: windows longer than {self.max_position} tokens "
            "have no distinct positions",
            oracles=("transformers", "float64 loop"),
        )

    @property
    def shares_bias_over_layers(self) -> bool:
        return self.inner.shares_bias_over_layers and not self._draws_in_layers

    @property
    def draws(self) -> int:
        return self.config.evaluation_draws

    def use_draw(self, draw: int) -> None:
        self.draw = draw

    def refusal(self, length: int) -> str | None:
        if length <= self.max_position:
            return None
        return (
            f"a window of {length} tokens needs as many distinct positions, "
            f"and they are drawn below {self.max_position} "
            f"(train_length is {self.dimensions.train_length}): raise scheme.max_position"
        )

    def positions(self, length: int, device: torch.device) -> Tensor:
        """(T,) int64: the draw of the first layer."""
        return self.drawn(length, 0, device)

    def read(self, tokens: Tensor) -> Tensor:
        """(n_layers, T) int64."""
        length, n_layers = tokens.shape[1], self.dimensions.n_layers
        if not self._draws_in_layers:
            return self.drawn(length, 0, tokens.device).expand(n_layers, length)
        return torch.stack([self.drawn(length, layer, tokens.device) for layer in range(n_layers)])

    def drawn(self, length: int, layer: int, device: torch.device) -> Tensor:
        """(T,) int64, increasing, below max_position."""
        if reason := self.refusal(length):
            raise ConfigError(reason)
        # None is torch's global generator, which training seeds before every step.
        generator = None if self.training else generator_of(self.draw, length, layer)
        # On the CPU whatever the device: the same numbers everywhere.
        order = torch.randperm(self.max_position, generator=generator)
        return order[:length].sort().values.to(device)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return self.inner.embed(x, of_layer(positions, 0))

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return self.inner.rotate(q, k, of_layer(positions, layer), layer)

    def biases(self, positions: Tensor) -> list[Bias | None]:
        n_layers = self.dimensions.n_layers
        if self.structure == "none":
            return [None] * n_layers
        if self.shares_bias_over_layers:
            return [self._bias(of_layer(positions, 0), 0)] * n_layers
        return [self._bias(of_layer(positions, layer), layer) for layer in range(n_layers)]

    def _bias(self, places: Tensor, layer: int) -> Rows:
        inner, source = self.inner, 0 if self.inner.shares_bias_over_layers else layer
        if inner.structure == "rows":
            return Rows(lambda first, last: inner.rows(places[first:last], places[:last], source))
        by_offset = inner.toeplitz(torch.arange(self.max_position, device=places.device), source)

        def block(first: int, last: int) -> Tensor:
            return by_offset[:, (places[first:last, None] - places[:last]).clamp(min=0)]

        return Rows(block)


def of_layer(positions: Tensor, layer: int) -> Tensor:
    """(T,) of (n_layers, T), or of (T,) for all."""
    return positions if positions.ndim == 1 else positions[layer]


def generator_of(draw: int, length: int, layer: int) -> torch.Generator:
    """A CPU generator that is a function of the three numbers alone."""
    digest = hashlib.sha256(f"randomised positions:{draw}:{length}:{layer}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
