"""A window of the last keys, and a few first ones (the sinks) that are read as if they were nearer: lm_infinite and streaming_llm.

A sink j that the window of W keys no longer holds (i - j >= W) is read, from query P = `query_at` on, at the distance P - `sinks_at`[j];
every other score that is kept is the scheme's own. Where the scheme turns queries and keys, the sinks' scores need them turned a second
way: structure "general", whose memory is linear in the window in evaluation. Without sinks nothing is turned twice, and the fast kernels
serve.

Shape letters: B batch, T positions in the window, R rows of queries, S keys, H heads, D head size.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.modifiers.spans import both
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes.base import Declaration, Scheme
from lengthgen.schemes.wrapper import Wrapper


class FarSinks(Retrofit):
    """A retrofit that says its `query_at` and `sinks_at`, and what becomes of a bias."""

    def __init__(self, config: Any, inner: Scheme, seen: Span):
        super().__init__(config, inner)
        self.seen = seen
        self.turns = (
            inner.declaration.structure == "none"
            and inner.declaration.acts_on == "queries and keys"
        )

    @property
    def query_at(self) -> int:
        """P: the position that a query gets towards the sinks which its window has left."""
        raise NotImplementedError

    def sinks_at(self, device: torch.device) -> Tensor:
        """The positions (sinks,) int64 that these then get."""
        raise NotImplementedError

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        """It goes inside all modifiers: log-n scaling then counts the keys that are seen."""
        declared, steered = inner.declaration, type(inner).steer is not Scheme.steer
        turned_by_place = (
            declared.acts_on == "queries and keys" and not declared.shift_invariant
        )  # no distance to read a key at: fope
        other = (
            isinstance(inner, Wrapper) or steered or turned_by_place or declared.acts_on == "input"
        )
        if other or declared.structure in ("gates", "general"):
            name = cls.__module__.rpartition(".")[2]
            return f"retrofit {name} reads the first keys at another distance: expected rotary positions, a bias of the offset, or none"
        return None

    @property
    def declaration(self) -> Declaration:
        declared = super().declaration
        structure = "general" if self.turns and self.seen.sinks else declared.structure
        return dataclasses.replace(
            declared,
            structure=structure,
            acts_on="scores" if structure == "general" else declared.acts_on,
        )

    def span(self, layer: int) -> Span | None:
        return both(self.inner.span(layer), self.seen)

    def general(self, layer: int) -> bool:
        return self.turns and self.seen.sinks > 0

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return (q, k) if self.general(layer) else self.inner.rotate(q, k, positions, layer)

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        last = k.shape[2]
        own = self._scores(q, k, positions[first:last], positions[:last], layer)
        sinks_at = self.sinks_at(q.device)[:last]
        n = len(sinks_at)
        far = self._scores(
            q, k[:, :, :n], torch.full_like(positions[first:last], self.query_at), sinks_at, layer
        )
        i, j = torch.arange(first, last, device=q.device)[:, None], torch.arange(n, device=q.device)
        return torch.cat((torch.where(self.is_far(i, j), far, own[..., :n]), own[..., n:]), -1)

    def is_far(self, i: Tensor, j: Tensor) -> Tensor:
        """Whether query i reads key j as a sink that its window has left. Keys that are neither sinks nor in the window do not matter."""
        return (i - j >= self.seen.window) & (i >= self.query_at)

    def _scores(self, q: Tensor, k: Tensor, q_at: Tensor, k_at: Tensor, layer: int) -> Tensor:
        """Scores (B, H, R, S) of queries at positions (R,) and keys at (S,)."""
        return (
            self.inner.rotate(q, q, q_at, layer)[0]
            @ self.inner.rotate(k, k, k_at, layer)[1].transpose(-1, -2)
            * self.score_scale
        )
