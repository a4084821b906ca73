"""The contract of a retrofit: a change to a trained model at evaluation time, put around its scheme after the weights were loaded.

A retrofit is one file in this folder and one YAML in configs/retrofit/: a `Config` dataclass and one subclass of `Retrofit` (the only
one that the file defines). It overrides the scheme's hooks that it changes and hands on the others; no weight is trained, and names
in the state dict stay as they were, because it comes after loading.

It goes around the outermost part of what was trained, modifiers first, that it does not refuse: `yarn` on rope+ssmax is put around rope,
inside ssmax, so that what was trained around the scheme stays around it.

What `declaration` says is the trained scheme's, with what the retrofit changes: `replace(super().declaration, tail=..., ...)`. One that
depends on the window's total length must say prefix_consistent=False: every length then gets a pass of its own.

Shape letters: B batch, T positions in the window, H heads, D head size.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from lengthgen.config.plugins import About
from lengthgen.errors import ConfigError
from lengthgen.modifiers.base import Modifier
from lengthgen.schemes.base import Scheme
from lengthgen.schemes.wrapper import Wrapper

LossOf = Callable[
    [int], float
]  # tokens in a window -> mean loss of a fixed small set of training-split windows of that length, nats


class Retrofit(Wrapper):
    """Hands every hook on to the trained scheme `inner`, until a subclass overrides it."""

    Config: ClassVar[type]
    about: ClassVar[About]  # what it says of itself whatever it is put around

    def __init__(self, config: Any, inner: Scheme):
        super().__init__(config, inner)

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        """Why it cannot be put around `inner`, in one line; None if it can. Asked before anything is built."""
        return None

    def calibrate(self, loss_of: LossOf) -> None:
        """Called once, after construction and before the evaluation. For retrofits that search on held-out training text.

        `loss_of(length)` is the loss with the retrofit as it stands at the time of the call. What is set must be a function of those losses
        and of the options alone.
        """

    @property
    def found(self) -> dict[str, Any]:
        """What `calibrate` decided, plain data for the evaluation's settings.json; empty where nothing is searched."""
        return {}


def refusal(cls: type[Retrofit], scheme: Scheme) -> str | None:
    """Why the retrofit has no place around any part of `scheme`, in one line; None if it has one."""
    reason = cls.refuses(scheme)
    if not reason or not isinstance(scheme, Modifier):
        return reason
    if scheme.leaves is not None and not any(
        getattr(cls, hook) is not getattr(Retrofit, hook) for hook in scheme.leaves
    ):
        [retrofit, modifier] = (kind.__module__.rpartition(".")[2] for kind in (cls, type(scheme)))
        return f"retrofit {retrofit} changes positions, which modifier {modifier} takes away before any evaluation"
    return refusal(cls, scheme.inner)


def apply(cls: type[Retrofit], config: Any, scheme: Scheme) -> tuple[Scheme, Retrofit]:
    """`scheme` with the retrofit around its outermost part that is not refused, and the retrofit itself.

    The first is the retrofit, or `scheme` with the retrofit inside. ConfigError if every part is refused.
    """
    if reason := refusal(cls, scheme):
        raise ConfigError(reason)
    if cls.refuses(scheme) is None:
        retrofit = cls(config, scheme)
        return retrofit, retrofit
    scheme.inner, retrofit = apply(cls, config, scheme.inner)
    return scheme, retrofit
