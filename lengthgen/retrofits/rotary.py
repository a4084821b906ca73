"""Two ways to change a trained rotation, shared by the rotary retrofits.

`Respaced`: pairs turn at other frequencies, everywhere. Attention stays as fast as it was.
`Regrouped`: near keys keep their offsets, farther ones get smaller ones. Takes two matrices of
scores, so the general path of attention.

A factor of null follows the length of the window at hand: logits then depend on it. Nothing is kept
between windows, so that no number depends on the order of evaluation.

Shape letters: those of schemes/base.py, and P pairs.
"""

import math
from dataclasses import replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from lengthgen.attention.two_distances import TwoDistances
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration, Scheme, name_of
from lengthgen.schemes.rotary import Rotary, Spectrum


class OfRotary(Retrofit):
    """A retrofit of a rotary scheme."""

    @property
    def trained(self) -> Rotary:
        """The wrapped scheme, which `refuses` requires to be rotary."""
        return cast(Rotary, self.inner)


class Respaced(OfRotary):
    """Other frequencies, and perhaps another temperature, for windows of a length."""

    least_pairs: ClassVar[int] = 1  # pairs that the formula needs

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        name = name_of(cls)
        if not isinstance(inner, Rotary):
            return (
                f"retrofit {name} changes frequencies of rotary pairs:"
                " expected rope, rope_partial, p_rope, hope_period or fope itself"
            )
        pairs = inner.spectrum.channels // 2
        if pairs < cls.least_pairs:
            return f"retrofit {name} needs {cls.least_pairs} pairs a head, and the run has {pairs}"
        return None

    @property
    def fixed_factor(self) -> float | None:
        """How much longer than in training windows are taken to be; None: what they are."""
        return self.config.factor

    @property
    def follows_length(self) -> bool:
        """Whether the numbers depend on how long the whole window is."""
        return self.fixed_factor is None

    @property
    def change(self) -> str:
        """What happens to the frequencies, in words."""
        raise NotImplementedError

    @property
    def declaration(self) -> Declaration:
        inner = super().declaration
        consistent = inner.prefix_consistent and not self.follows_length
        return replace(inner, prefix_consistent=consistent)

    @property
    def tail(self) -> str:
        return f"{self.change}; then {super().tail}"

    @property
    def factor_in_words(self) -> str:
        return "window / train_length" if self.fixed_factor is None else f"{self.fixed_factor:g}"

    def factor(self, length: int) -> float:
        """How much longer than in training a window of `length` tokens counts as, at least 1."""
        if self.fixed_factor is None:
            return max(1.0, length / self.dimensions.train_length)
        return self.fixed_factor

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        """(P,) float64 radians a position, for a window of `length` tokens."""
        raise NotImplementedError

    def temperature(self, length: int) -> float:
        """What all scores of a window of `length` tokens are multiplied by."""
        return 1.0

    def angles(self, positions: Tensor) -> Tensor:
        """(T, P) float64 radians of the positions (T,) of a window."""
        return rotary.angles(positions, self.frequencies(positions.shape[-1], positions.device))

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        # Scores are multiplied through the queries alone, so that the fast kernels serve.
        dtype, temperature = q.dtype, self.temperature(positions.shape[-1])
        if temperature != 1:
            q = q.to(torch.promote_types(dtype, torch.float32)) * temperature
        cos, sin = rotary.waves(self.angles(positions), dtype)
        turn = self.trained.turn
        return turn(q, cos, sin, layer).to(dtype), turn(k, cos, sin, layer)

    def _partly_slowed(self, kept: Tensor, length: int) -> Tensor:
        """(P,) float64: each frequency over `factor`, but for its share `kept` (P,)."""
        frequencies = self.trained.spectrum.frequencies(kept.device)
        return (1 - kept) * frequencies / self.factor(length) + kept * frequencies


class Regrouped(OfRotary):
    """Keys fewer than `window` positions back as trained, farther ones where `far` says."""

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        name = name_of(cls)
        if not isinstance(inner, Rotary):
            return (
                f"retrofit {name} changes offsets of rotary pairs:"
                " expected rope, rope_partial, p_rope or hope_period itself"
            )
        if not inner.declaration.shift_invariant or inner.structure != "none":
            return (
                f"retrofit {name} changes offsets, and the scores of the run's scheme depend on"
                " more than a rotation by the offset"
            )
        return None

    @property
    def window(self) -> int:
        """Offsets below it are kept."""
        raise NotImplementedError

    def far(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The positions (T,) of far queries and of far keys, from their own (T,)."""
        raise NotImplementedError

    @property
    def structure(self) -> str:
        return "general"

    @property
    def declaration(self) -> Declaration:
        return replace(super().declaration, acts_on="scores")

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return q, k

    def general(self, layer: int) -> bool:
        return True

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        rows, keys = slice(first, first + q.shape[2]), slice(k.shape[2])
        q = q * self.score_scale  # before the product: saves a pass over the scores
        q_far, k_far = self.far(positions)
        near = self._scores(q, k, positions[rows], positions[keys], layer)
        far = self._scores(q, k, q_far[rows], k_far[keys], layer)
        return torch.where(positions[rows, None] - positions[keys] < self.window, near, far)

    @property
    def reads_text(self) -> bool:
        return self.inner.reads_text

    def two_distances(
        self, q: Tensor, k: Tensor, positions: Tensor, layer: int, first: int
    ) -> TwoDistances | None:
        if positions.is_floating_point():  # not counted in tokens, as `window` then would be
            return None
        q_far, k_far = self.far(positions)
        q = q * self.score_scale
        return TwoDistances(
            near=(self._turned(q, positions, layer), self._turned(k, positions, layer)),
            far=(self._turned(q, q_far, layer), self._turned(k, k_far, layer)),
            window=self.window,
        )

    def _scores(self, q: Tensor, k: Tensor, q_at: Tensor, k_at: Tensor, layer: int) -> Tensor:
        """Unscaled scores (B, H, R, S) of queries at positions q_at (R,) and keys at k_at (S,)."""
        q, k = self._turned(q, q_at, layer), self._turned(k, k_at, layer)
        return q @ k.transpose(-1, -2)

    def _turned(self, x: Tensor, at: Tensor, layer: int) -> Tensor:
        """x (B, H, R, D) turned as at positions `at` (R,)."""
        angles = rotary.angles(at, self.trained.spectrum.frequencies(x.device))
        return self.trained.turn(x, *rotary.waves(angles, x.dtype), layer)


def ramp_by_turns(
    spectrum: Spectrum, train_length: int, slow: float, fast: float, device: torch.device
) -> Tensor:
    """(P,) float64: how much of each pair's frequency is kept, linear in its turns in training."""
    turns = train_length * spectrum.frequencies(device) / (2 * math.pi)
    return ((turns - slow) / (fast - slow)).clamp(0, 1)
