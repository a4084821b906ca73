"""Which tokens of a text a cache keeps, and where: the first few, and a ring of the last.

Slot p < sinks holds token p. The ring's slots hold the last `window` other tokens, token j in slot
sinks + (j - sinks) mod window: the newest takes the place of the one that has just left the window.
Softmax does not mind the order of keys; a bias asks `tokens` for it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span


@dataclass(frozen=True)
class Slots:
    """The first `sinks` tokens and the last `window` of the others; window None: all, 0: none."""

    sinks: int = 0
    window: int | None = None

    @classmethod
    def of(cls, span: Span | None) -> "Slots":
        """Those of the keys that the newest query sees under this span."""
        if span is None or span.window is None:
            return cls()
        return cls(span.sinks, span.window)

    def count(self, length: int) -> int:
        """Slots in use after `length` tokens."""
        return length if self.window is None else min(length, self.sinks + self.window)

    def kept(self, first: int, last: int) -> list[tuple[int, int]]:
        """Ranges of the tokens first..last-1 that are kept once `last` tokens are there."""
        if self.window is None:
            return [(first, last)]
        ranges = [
            (first, min(last, self.sinks)),
            (max(first, self.sinks, last - self.window), last),
        ]
        return [(start, stop) for start, stop in ranges if start < stop]

    def place(self, token: int) -> int:
        """The slot of a kept token."""
        if not self.window or token < self.sinks:
            return token
        return self.sinks + (token - self.sinks) % self.window

    def places(self, tokens: Tensor) -> Tensor:
        """The slots of kept tokens, int64."""
        if not self.window:
            return tokens
        ring = self.sinks + (tokens - self.sinks) % self.window
        return torch.where(tokens < self.sinks, tokens, ring)

    def tokens(self, length: int, device: torch.device) -> Tensor:
        """(count,) int64: the token that each used slot holds after `length` tokens."""
        slots = torch.arange(self.count(length), device=device)
        if not self.window:
            return slots
        turns = (length - 1 - slots).div(self.window, rounding_mode="floor")
        return torch.where(slots < self.sinks, slots, slots + turns * self.window)
