"""A window of the last keys, and the first few (the sinks) read as if they were nearer.

A sink j that the window of W keys no longer holds (i - j >= W) is read, from query P = `query_at`
on, at the distance P - `sinks_at`[j]; every other visible score is the scheme's own. Where the
scheme turns queries and keys, the sinks' scores need them turned a second time: structure
"general".

"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Span
from lengthgen.attention.two_distances import TwoDistances
from lengthgen.modifiers.spans import both
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes.base import Declaration, Scheme, name_of
from lengthgen.schemes.wrapper import Wrapper


class FarSinks(Retrofit):
    """A subclass defines `query_at`, `sinks_at`, and what becomes of a bias."""

    def __init__(self, config: Any, inner: Scheme, window: int, sinks: int):
        super().__init__(config, inner)
        self.window, self.sinks = window, sinks
        declared = inner.declaration
        self.turns = inner.structure == "none" and declared.acts_on == "queries and keys"

    @property
    def query_at(self) -> int:
        """P: the position of a query as seen by the sinks that its window has left."""
        raise NotImplementedError

    def sinks_at(self, device: torch.device) -> Tensor:
        """The positions (sinks,) int64 that these sinks get."""
        raise NotImplementedError

    def changed(self, bias: Bias, length: int) -> Bias:
        """The bias of a window of `length` tokens under the retrofit."""
        raise NotImplementedError

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        """It goes inside all modifiers, so that log-n scaling counts the keys that are seen."""
        declared, steered = inner.declaration, type(inner).steer is not Scheme.steer
        # Without shift invariance (fope) there is no distance at which to read a key.
        turned_by_place = declared.acts_on == "queries and keys" and not declared.shift_invariant
        other = isinstance(inner, Wrapper) or steered or turned_by_place
        if other or declared.acts_on == "input" or inner.structure in ("gates", "general"):
            return (
                f"retrofit {name_of(cls)} reads the first keys at another distance:"
                " expected rotary positions, a bias of the offset, or none"
            )
        return None

    @property
    def structure(self) -> str:
        return "general" if self.turns and self.sinks else self.inner.structure

    @property
    def declaration(self) -> Declaration:
        declared = super().declaration
        return replace(declared, acts_on="scores") if self.turns and self.sinks else declared

    def span(self, layer: int) -> Span | None:
        return both(self.inner.span(layer), Span(self.window, self.sinks))

    def general(self, layer: int) -> bool:
        return self.turns and self.sinks > 0

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return (q, k) if self.general(layer) else self.inner.rotate(q, k, positions, layer)

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        last = k.shape[2]
        rows = positions[first:last]
        scores = self._scores(q, k, rows, positions[:last], layer)
        sinks_at = self.sinks_at(q.device)[:last]
        n = len(sinks_at)
        # Sinks are the first columns: only they need scores at two distances.
        query_at = torch.full_like(rows, self.query_at)
        far = self._scores(q, k[:, :, :n], query_at, sinks_at, layer)
        i, j = indices(first, last, q.device)
        sinks = torch.where(self.is_far(i, j[:n]), far, scores[..., :n])
        return torch.cat((sinks, scores[..., n:]), -1)

    @property
    def reads_text(self) -> bool:
        return self.inner.reads_text

    def two_distances(
        self, q: Tensor, k: Tensor, positions: Tensor, layer: int, first: int
    ) -> TwoDistances | None:
        q = q * self.score_scale
        near = self.inner.rotate(q, k, positions, layer)
        q_far = self.inner.rotate(q, q, torch.full_like(positions, self.query_at), layer)[0]
        k_far = near[1]  # only sinks are ever far
        if first < self.sinks:
            places = torch.zeros_like(positions)
            new = self.sinks_at(q.device)[first : first + len(places)]
            places[: len(new)] = new
            k_far = self.inner.rotate(k, k, places, layer)[1]
        return TwoDistances(near, (q_far, k_far), self.window, self.query_at)

    def is_far(self, i: Tensor, j: Tensor) -> Tensor:
        """Whether sink j has left the window of query i. Undefined for hidden keys."""
        return (i - j >= self.window) & (i >= self.query_at)

    def biases(self, positions: Tensor) -> list[Bias | None]:
        """Each object is changed once, so that layers that share a bias still do."""
        biases, length = self.inner.biases(positions), positions.numel()
        changed = {id(b): None if b is None else self.changed(b, length) for b in biases}
        return [changed[id(bias)] for bias in biases]

    def _scores(self, q: Tensor, k: Tensor, q_at: Tensor, k_at: Tensor, layer: int) -> Tensor:
        """Scores (B, H, R, S) of queries at positions q_at (R,) and keys at k_at (S,)."""
        q, k = self.inner.rotate(q, q, q_at, layer)[0], self.inner.rotate(k, k, k_at, layer)[1]
        return q @ k.transpose(-1, -2) * self.score_scale


def indices(first: int, last: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices of the queries first..last-1, (R, 1), and of the keys 0..last-1, (S,)."""
    keys = torch.arange(last, device=device)
    return keys[first:, None], keys
