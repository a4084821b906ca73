"""Which schemes no cache can serve, and why, from what they declare."""

from collections.abc import Callable

from lengthgen.schemes.base import Scheme, name_of
from lengthgen.schemes.wrapper import Wrapper


def refusal(scheme: Scheme) -> str | None:
    """Why a cache would not give the logits of whole windows, in one line; None if it does."""
    if not scheme.declaration.prefix_consistent:
        name = _culprit(scheme, lambda part: not part.declaration.prefix_consistent)
        return (
            f"decoding with a cache: {name} reads every token by how long the whole text is, so "
            "that a further token changes all earlier ones; expected a scheme whose prefixes are "
            "consistent, or a factor that is given in place of window / train_length"
        )
    layers = range(scheme.dimensions.n_layers)
    if not scheme.by_rows and any(scheme.general(layer) for layer in layers):
        name = _culprit(scheme, lambda part: not part.by_rows)
        return (
            f"decoding with a cache: {name} makes the scores of a token from those of all tokens "
            "before it, and no cache of keys and values holds these; expected a scheme that "
            "computes some rows at a time"
        )
    return None


def _culprit(scheme: Scheme, guilty: Callable[[Scheme], bool]) -> str:
    """The name of the innermost guilty part: a wrapper around it only repeats what it says."""
    while isinstance(scheme, Wrapper) and guilty(scheme.inner):
        scheme = scheme.inner
    return name_of(type(scheme))
