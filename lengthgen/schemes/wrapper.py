"""A scheme around a scheme: every hook is the inner one's until a subclass overrides it.

The base of schemes that change another one (randomised, DAPE), of modifiers and of retrofits. The
inner scheme is a submodule, so its parameters are trained and saved with the wrapper's own. A
wrapper that overrides `toeplitz` or `rows` must also let `biases` call these instead of the inner
ones: `return Scheme.biases(self, positions)`.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lengthgen import schemes
from lengthgen.attention.bias_forms import Bias, Span
from lengthgen.attention.two_distances import TwoDistances
from lengthgen.config import by_length
from lengthgen.config.dataclass_from import build
from lengthgen.schemes.base import Declaration, Dimensions, GeneratorFor, Scheme


def inner_scheme(config: Any, dimensions: Dimensions) -> Scheme:
    """The scheme of the options `inner` and `inner_options`, not initialised."""
    kind = schemes.load(config.inner)
    return kind(build(kind.Config, config.inner_options, "scheme.inner_options"), dimensions)


def inner_options(config: Any, train_length: int) -> dict[str, Any]:
    """`inner_options` with the inner scheme's that follow the length (config/by_length.py).

    One that is as its paper has it stays out, so that runs older than the rule keep their identity.
    """
    kind = schemes.load(config.inner).Config
    options = build(kind, config.inner_options, "scheme.inner_options")
    published = getattr(kind, "PUBLISHED", {})
    values = by_length.at(options, train_length).items()
    return {
        name: value for name, value in values if value != published.get(name)
    } | config.inner_options


class Wrapper(Scheme):
    """Passes every hook on to `inner`."""

    def __init__(self, config: Any, inner: Scheme):
        super().__init__(config, inner.dimensions)
        self.inner = inner

    @property
    def tail(self) -> str:
        """`tail` of the declaration, the only word in it that most wrappers change."""
        return self.inner.declaration.tail

    @property
    def declaration(self) -> Declaration:
        return replace(self.inner.declaration, tail=self.tail)

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        """Why a modifier or retrofit cannot wrap `inner`, in one line; None if it can."""
        return None

    @property
    def structure(self) -> str:
        return self.inner.structure

    @property
    def shares_bias_over_layers(self) -> bool:
        return self.inner.shares_bias_over_layers

    @property
    def score_scale(self) -> float:
        return self.inner.score_scale

    @property
    def by_rows(self) -> bool:
        return self.inner.by_rows

    @property
    def draws(self) -> int:
        return self.inner.draws

    def use_draw(self, draw: int) -> None:
        self.inner.use_draw(draw)

    def begin_step(self, step: int, steps: int) -> None:
        self.inner.begin_step(step, steps)

    def initialise(self, generator_for: GeneratorFor) -> None:
        """The inner scheme's weights under its own names: the same whether wrapped or not."""
        self.inner.initialise(generator_for)

    def refusal(self, length: int) -> str | None:
        return self.inner.refusal(length)

    def positions(self, length: int, device: torch.device) -> Tensor:
        return self.inner.positions(length, device)

    def read(self, tokens: Tensor) -> Tensor:
        return self.inner.read(tokens)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return self.inner.embed(x, positions)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return self.inner.rotate(q, k, positions, layer)

    def steer(self, q: Tensor, k: Tensor, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return self.inner.steer(q, k, x, layer)

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        return self.inner.toeplitz(offsets, layer)

    def rows(self, q_positions: Tensor, k_positions: Tensor, layer: int) -> Tensor:
        return self.inner.rows(q_positions, k_positions, layer)

    def gates(self, x: Tensor, layer: int) -> Tensor | None:
        return self.inner.gates(x, layer)

    def gate_weights(self, x: Tensor, layer: int) -> Tensor | None:
        return self.inner.gate_weights(x, layer)

    def span(self, layer: int) -> Span | None:
        return self.inner.span(layer)

    def general(self, layer: int) -> bool:
        return self.inner.general(layer)

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        return self.inner.logits(q, k, x, positions, layer, first)

    def mix(self, logits: Tensor, v: Tensor, layer: int, first: int) -> Tensor:
        return self.inner.mix(logits, v, layer, first)

    def biases(self, positions: Tensor) -> list[Bias | None]:
        return self.inner.biases(positions)

    # What decoding asks: the inner scheme's, unless the wrapper changes the hook behind it.

    @property
    def reads_tokens(self) -> bool:
        return type(self).read is not Wrapper.read or self.inner.reads_tokens

    @property
    def reads_text(self) -> bool:
        changed = type(self).steer is not Wrapper.steer or type(self).logits is not Wrapper.logits
        return changed or self.inner.reads_text

    def embed_from(self, x: Tensor, positions: Tensor, first: int) -> Tensor:
        if type(self).embed is not Wrapper.embed:
            return super().embed_from(x, positions, first)
        return self.inner.embed_from(x, positions, first)

    def steer_from(
        self, q: Tensor, k: Tensor, x: Tensor, layer: int, first: int
    ) -> tuple[Tensor, Tensor]:
        if type(self).steer is not Wrapper.steer:
            return super().steer_from(q, k, x, layer, first)
        return self.inner.steer_from(q, k, x, layer, first)

    def gates_from(self, x: Tensor, layer: int, first: int) -> tuple[Tensor | None, Tensor | None]:
        cls = type(self)
        if cls.gates is not Wrapper.gates or cls.gate_weights is not Wrapper.gate_weights:
            return super().gates_from(x, layer, first)
        return self.inner.gates_from(x, layer, first)

    def two_distances(
        self, q: Tensor, k: Tensor, positions: Tensor, layer: int, first: int
    ) -> TwoDistances | None:
        changed = type(self).logits is not Wrapper.logits or type(self).mix is not Wrapper.mix
        return None if changed else self.inner.two_distances(q, k, positions, layer, first)
