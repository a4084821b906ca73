"""What a model keeps of the texts that it continues.

A cache belongs to one scheme as it is (with its modifiers and its retrofit) and to one batch of
texts of equal length. It knows no model: any that hands queries, keys and values of new tokens to
`attend`, layer by layer, can use it (attention/continuation.py).

Shape letters: B sequences, R new tokens, T tokens so far, H heads, K heads of keys and values, D
and Dv sizes of a head, E width.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lengthgen.attention.bias_forms import Bias
from lengthgen.decoding.buffer import Buffer
from lengthgen.decoding.layers import LayerCache
from lengthgen.decoding.layers.general import General
from lengthgen.decoding.layers.structured import Structured
from lengthgen.decoding.layers.two_distances import Turned
from lengthgen.decoding.refusal import refusal
from lengthgen.decoding.slots import Slots
from lengthgen.decoding.step import Step
from lengthgen.errors import ConfigError
from lengthgen.schemes.base import Scheme


class Cache:
    """`length` tokens so far. ConfigError for a scheme that no cache can serve (refusal.py)."""

    def __init__(self, scheme: Scheme, room: int = 0):
        """room: tokens that are expected in all; more are taken too, and cost a copy."""
        if reason := refusal(scheme):
            raise ConfigError(reason)
        self.scheme, self.room, self.length = scheme, room, 0
        self.layers: dict[int, LayerCache] = {}
        self.texts: dict[int, Buffer] = {}  # x of every token, where the scheme reads it
        self.tokens: Tensor | None = None  # (B, T), where the scheme reads them
        self._positions: Tensor | None = None  # of tokens to come, too
        self._biases: list[Bias | None] = []
        self._step: Step | None = None

    @torch.no_grad()
    def embed(
        self, x: Float[Tensor, "B R E"], tokens: Int[Tensor, "B R"]
    ) -> Float[Tensor, "B R E"]:
        """Begins a step: x with the scheme's positions. ConfigError if it refuses the length.

        Many tokens may begin a text; then they come one at a time.
        """
        if self.length and tokens.shape[1] != 1:
            raise ConfigError(
                f"{tokens.shape[1]} tokens after {self.length}: a cache expects one token at a "
                "time after those that begin a text"
            )
        last = self.length + tokens.shape[1]
        if reason := self.scheme.refusal(last):
            raise ConfigError(reason)
        positions = self._read(tokens, last)
        self._step = Step(self.length, last, positions, self._biases)
        self.length = last
        return self.scheme.embed_from(x, positions, self._step.first)

    @torch.no_grad()
    def attend(
        self,
        q: Float[Tensor, "B H R D"],
        k: Float[Tensor, "B K R D"],
        v: Float[Tensor, "B K R Dv"],
        x: Float[Tensor, "B R E"],
        layer: int,
    ) -> Float[Tensor, "B H R Dv"]:
        """The mixture of values for the new tokens, as attention/continuation.py says."""
        step, scheme = self._step, self.scheme
        assert step is not None
        with torch.autocast(x.device.type, enabled=False):
            if scheme.reads_text:
                x = self._text(x, layer, step)
            q, k = scheme.rotate(q, k, step.new_positions, layer)
            q, k = scheme.steer_from(q, k, x, layer, step.first)
        if layer not in self.layers:
            self.layers[layer] = self._layer(q, k, layer, step)
        return self.layers[layer].attend(q, k, v, x, step)

    def can_rewind(self, length: int) -> bool:
        """Whether every key that the first `length` tokens left is still there."""
        rings = (buffer.slots for buffer in self.buffers() if buffer.slots.window)
        return length == self.length or all(
            slots.count(self.length) == self.length for slots in rings
        )

    def rewind(self, length: int) -> None:
        """Forget the tokens from `length` on. ConfigError where earlier ones are gone already."""
        if not 0 < length <= self.length:
            raise ConfigError(
                f"rewind to {length} tokens: the cache holds {self.length}, expected 1 to so many"
            )
        if not self.can_rewind(length):
            raise ConfigError(
                f"rewind to {length} of {self.length} tokens: a window has let go of earlier keys; "
                "begin the text again"
            )
        self.length = length
        if self.tokens is not None:
            self.tokens = self.tokens[:, :length]

    def buffers(self) -> list[Buffer]:
        """All that is kept of each token."""
        of_layers = [buffer for layer in self.layers.values() for buffer in layer.buffers()]
        return of_layers + list(self.texts.values())

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept of each token: constant once a window is full."""
        tokens = 0 if self.tokens is None else self.tokens.nbytes
        return tokens + sum(buffer.nbytes for buffer in self.buffers())

    def _read(self, tokens: Tensor, last: int) -> Tensor:
        """Positions (..., last) of the tokens so far; `_biases` are brought up to date."""
        scheme = self.scheme
        if scheme.reads_tokens:
            before = () if self.tokens is None else (self.tokens,)
            self.tokens = torch.cat((*before, tokens), dim=1)
            positions = scheme.read(self.tokens)
            self._biases = scheme.biases(positions)
            return positions
        if self._positions is None or self._positions.shape[-1] < last:
            # Computed ahead: a prefix-consistent scheme has them whatever the length.
            longer = max(last, self.room, 2 * self.length)
            longer = last if scheme.refusal(longer) else longer
            self._positions = scheme.positions(longer, tokens.device)
            self._biases = scheme.biases(self._positions)
        return self._positions[..., :last]

    def _text(self, x: Tensor, layer: int, step: Step) -> Tensor:
        """x (B, T, E) of all tokens so far, the new ones (B, R, E) included."""
        buffer = self.texts.setdefault(layer, Buffer(Slots(), self.room))
        buffer.append(x[:, None], step.first)
        return buffer.kept(step.last)[:, 0]

    def _layer(self, q: Tensor, k: Tensor, layer: int, step: Step) -> LayerCache:
        scheme = self.scheme
        if not scheme.general(layer):
            return Structured(scheme, layer, self.room)
        pairs = scheme.two_distances(q, k, step.new_positions, layer, step.first)
        if pairs is None:
            return General(scheme, layer, self.room)
        return Turned(scheme, layer, self.room, pairs)
