"""What the rotary retrofits share: two ways to change a trained rotation.

`Respaced`: pairs turn at other frequencies, everywhere. Attention stays as fast as it was.
`Regrouped`: keys within a window keep their offsets, farther ones are given smaller ones. Two matrices of scores, joined: the general path.

The length that a factor follows is that of the window at hand and nothing is kept between windows, so that neither the order of
evaluation nor a longer window before changes a number (the trap of dynamic NTK in yarn's and transformers' early classes).

Shape letters: B batch, T positions, R rows of queries, S keys, H heads, D head size, P pairs.
"""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from lengthgen.config import dataclass_from
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration, Scheme
from lengthgen.schemes.rotary import Rotary


def check_factor(factor: float | None) -> None:
    """ConfigError unless the option `factor` is null or a number that lengthens."""
    dataclass_from.check(
        factor is None or factor >= 1, f"retrofit.factor={factor}: expected a number >= 1 or null"
    )


class Respaced(Retrofit):
    """Other frequencies, and perhaps another temperature, for windows of a length. `config.factor`: how much longer they are, or None."""

    least_pairs: ClassVar[int] = 1  # that the rotation must have for the formula to mean something

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        name = cls.__module__.rpartition(".")[2]
        if not isinstance(inner, Rotary):
            return f"retrofit {name} changes frequencies of rotary pairs: expected rope, rope_partial, p_rope, hope_period or fope itself"
        pairs = inner.spectrum.channels // 2
        return (
            f"retrofit {name} needs {cls.least_pairs} pairs a head, and the run has {pairs}"
            if pairs < cls.least_pairs
            else None
        )

    @property
    def follows_length(self) -> bool:
        """Whether the numbers depend on how long the whole window is."""
        return self.config.factor is None

    @property
    def change(self) -> str:
        """What happens to the frequencies, in words."""
        raise NotImplementedError

    @property
    def declaration(self) -> Declaration:
        inner = super().declaration
        consistent = inner.prefix_consistent and not self.follows_length
        return dataclasses.replace(
            inner, prefix_consistent=consistent, tail=f"{self.change}; then {inner.tail}"
        )

    @property
    def lengthened(self) -> str:
        """The factor in words."""
        return "window / train_length" if self.config.factor is None else f"{self.config.factor:g}"

    def factor(self, length: int) -> float:
        """How much longer than in training a window of `length` tokens counts as being; at least 1."""
        return (
            max(1.0, length / self.dimensions.train_length)
            if self.config.factor is None
            else self.config.factor
        )

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
        dtype, temperature = q.dtype, self.temperature(positions.shape[-1])
        if temperature != 1:
            q = q.to(torch.promote_types(dtype, torch.float32)) * temperature
        cos, sin = rotary.waves(self.angles(positions), dtype)
        return self.inner.turn(q, cos, sin, layer).to(dtype), self.inner.turn(k, cos, sin, layer)


class Regrouped(Retrofit):
    """Keys fewer than `window` positions back at their own offsets, farther ones at those that `far` gives."""

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        name = cls.__module__.rpartition(".")[2]
        if not isinstance(inner, Rotary):
            return f"retrofit {name} changes offsets of rotary pairs: expected rope, rope_partial, p_rope or hope_period itself"
        if not inner.declaration.shift_invariant or inner.declaration.structure != "none":
            return f"retrofit {name} changes offsets, and the scores of the run's scheme depend on more than a rotation by the offset"
        return None

    @property
    def window(self) -> int:
        """Offsets below it are kept."""
        raise NotImplementedError

    def far(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The places (T,) to which queries and keys at `positions` (T,) are turned where they are far from each other."""
        raise NotImplementedError

    @property
    def declaration(self) -> Declaration:
        return dataclasses.replace(super().declaration, acts_on="scores", structure="general")

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return q, k

    def general(self, layer: int) -> bool:
        return True

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        rows, keys = slice(first, first + q.shape[2]), slice(k.shape[2])
        q = q * self.score_scale  # before the product: a pass less over the scores
        q_far, k_far = self.far(positions)
        near = self._scores(q, k, positions[rows], positions[keys], layer)
        far = self._scores(q, k, q_far[rows], k_far[keys], layer)
        return torch.where(positions[rows, None] - positions[keys] < self.window, near, far)

    def _scores(
        self, q: Tensor, k: Tensor, q_places: Tensor, k_places: Tensor, layer: int
    ) -> Tensor:
        """Unscaled scores (B, H, R, S) of q (B, H, R, D) and k (B, H, S, D), turned to places (R,) and (S,)."""
        frequencies = self.inner.spectrum.frequencies(q.device)
        q, k = (
            self.inner.turn(x, *rotary.waves(rotary.angles(places, frequencies), x.dtype), layer)
            for x, places in ((q, q_places), (k, k_places))
        )
        return q @ k.transpose(-1, -2)
