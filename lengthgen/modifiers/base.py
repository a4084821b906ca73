"""The contract of a modifier: a change that combines with any scheme and is trained with it.

A modifier is one file in this folder and one YAML in configs/modifier/ that begins with
`# @package modifiers.NAME`: a `Config` dataclass and the file's only subclass of `Modifier`. It
wraps the scheme before training; its parameters are trained and saved with the scheme's. All other
weights start as they would without it.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from torch import Tensor

from lengthgen.config.plugins import About
from lengthgen.errors import ConfigError
from lengthgen.schemes.base import Scheme
from lengthgen.schemes.wrapper import Wrapper


class Modifier(Wrapper):
    """Passes every hook on to `inner`, until a subclass overrides it.

    One with parameters sets them in `initialise`, after `super().initialise(generator_for)`.
    """

    about: ClassVar[About]
    stage: ClassVar[int] = 4  # its place among the modifiers, innermost first: see __init__.py
    # hooks that `inner` keeps in evaluation; None: all
    leaves: ClassVar[tuple[str, ...] | None] = None


class Silencer(Modifier):
    """A modifier under which the scheme does nothing to queries, keys and scores in some layers."""

    def silent(self, layer: int) -> bool:
        """Whether the scheme does nothing in `layer` now."""
        raise NotImplementedError

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return (q, k) if self.silent(layer) else self.inner.rotate(q, k, positions, layer)

    def steer(self, q: Tensor, k: Tensor, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return (q, k) if self.silent(layer) else self.inner.steer(q, k, x, layer)

    def gates(self, x: Tensor, layer: int) -> Tensor | None:
        return None if self.silent(layer) else self.inner.gates(x, layer)

    def general(self, layer: int) -> bool:
        return not self.silent(layer) and self.inner.general(layer)

    @property
    def reads_text(self) -> bool:
        return self.inner.reads_text

    def steer_from(
        self, q: Tensor, k: Tensor, x: Tensor, layer: int, first: int
    ) -> tuple[Tensor, Tensor]:
        return (q, k) if self.silent(layer) else self.inner.steer_from(q, k, x, layer, first)

    def gates_from(self, x: Tensor, layer: int, first: int) -> tuple[Tensor | None, Tensor | None]:
        return (None, None) if self.silent(layer) else self.inner.gates_from(x, layer, first)


def modified(scheme: Scheme, modifiers: Iterable[tuple[type[Modifier], Any]]) -> Scheme:
    """`scheme` inside its modifiers (class, options), innermost first. ConfigError if refused."""
    for cls, options in modifiers:
        if reason := cls.refuses(scheme):
            raise ConfigError(reason)
        scheme = cls(options, scheme)
    return scheme
