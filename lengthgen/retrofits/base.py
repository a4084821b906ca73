"""The contract of a retrofit: a change to a trained model at evaluation time; trains no weight.

A retrofit is one file in this folder and one YAML in configs/retrofit/: a `Config` dataclass and
the file's only subclass of `Retrofit`. It wraps the scheme after the weights are loaded, so names
in the state dict stay as they were.

It wraps the outermost part of what was trained that it does not refuse, modifiers first: `yarn` on
rope+ssmax wraps rope, inside ssmax, so that what was trained around the scheme stays around it.

Its `declaration` is the trained scheme's with its own changes: `replace(super().declaration, ...)`.
One that depends on the window's total length must declare prefix_consistent=False: each length then
gets a forward pass of its own.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from lengthgen.attention.bias_forms import Bias
from lengthgen.config.plugins import About
from lengthgen.errors import ConfigError
from lengthgen.modifiers.base import Modifier
from lengthgen.schemes.base import Scheme, name_of
from lengthgen.schemes.wrapper import Wrapper

# Tokens in a window -> mean loss in nats of a few fixed training-split windows of that length.
LossOf = Callable[[int], float]


class Retrofit(Wrapper):
    """Passes every hook on to the trained scheme `inner`, until a subclass overrides it."""

    about: ClassVar[About]

    def biases(self, positions: Tensor) -> list[Bias | None]:
        # Built anew where a subclass changes entries; else the inner object, which layers share.
        cls = type(self)
        changed = cls.toeplitz is not Wrapper.toeplitz or cls.rows is not Wrapper.rows
        return Scheme.biases(self, positions) if changed else self.inner.biases(positions)

    def calibrate(self, loss_of: LossOf) -> None:
        """Search for options, once, before the evaluation; from these losses and the options alone.

        `loss_of(length)` is the loss with the retrofit as it is at that moment.
        """

    @property
    def search_result(self) -> dict[str, Any]:
        """What `calibrate` decided, plain data for the evaluation's settings.json; else empty."""
        return {}


def refusal(cls: type[Retrofit], scheme: Scheme) -> str | None:
    """Why the retrofit can wrap no part of `scheme`, in one line; None if it can wrap one."""
    reason = cls.refuses(scheme)
    if not reason or not isinstance(scheme, Modifier):
        return reason
    if scheme.leaves is not None and not any(
        getattr(cls, hook) is not getattr(Retrofit, hook) for hook in scheme.leaves
    ):
        return (
            f"retrofit {name_of(cls)} changes positions, which modifier {name_of(type(scheme))}"
            " takes away before any evaluation"
        )
    return refusal(cls, scheme.inner)


def apply(cls: type[Retrofit], config: Any, scheme: Scheme) -> tuple[Scheme, Retrofit]:
    """`scheme` with the retrofit around its outermost part that is not refused, and the retrofit.

    ConfigError if every part is refused.
    """
    if reason := refusal(cls, scheme):
        raise ConfigError(reason)
    if isinstance(scheme, Modifier) and cls.refuses(scheme):
        scheme.inner, retrofit = apply(cls, config, scheme.inner)
        return scheme, retrofit
    retrofit = cls(config, scheme)
    return retrofit, retrofit
