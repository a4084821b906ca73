"""The contract of a modifier: a change that combines with any scheme and is trained with it.

A modifier is one file in this folder and one YAML in configs/modifier/ (its first line `# @package modifiers.NAME`): a `Config`
dataclass and one subclass of `Modifier` (the only one that the file defines). It is built around the scheme before training; its
parameters are trained and saved with the scheme's. Every weight that is not its own starts as it would without it.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from lengthgen.config.plugins import About
from lengthgen.errors import ConfigError
from lengthgen.schemes.base import Scheme
from lengthgen.schemes.wrapper import Wrapper


class Modifier(Wrapper):
    """Hands every hook on to `inner`, until a subclass overrides it.

    One with parameters sets them in `initialise`, after `super().initialise(generator_for)` has set those of `inner`.
    """

    Config: ClassVar[type]
    about: ClassVar[About]  # what it says of itself whatever it is put around
    stage: ClassVar[int] = (
        4  # its place in the order of application, innermost first: the table in __init__.py
    )
    leaves: ClassVar[tuple[str, ...] | None] = (
        None  # hooks of `inner` that still count in evaluation; None: all
    )

    def __init__(self, config: Any, inner: Scheme):
        super().__init__(config, inner)

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        """Why it cannot be put around `inner`, in one line; None if it can."""
        return None


def modified(scheme: Scheme, modifiers: Iterable[tuple[type[Modifier], Any]]) -> Scheme:
    """`scheme` inside its modifiers, (class, options) in the order of application. ConfigError where one refuses."""
    for cls, options in modifiers:
        if reason := cls.refuses(scheme):
            raise ConfigError(reason)
        scheme = cls(options, scheme)
    return scheme
