"""The model confined to a hard window of its training length L: does it use more than that?

Every query sees the last L keys, in every layer, and positions stay as they are: the hard_window
retrofit, put around the trained scheme in memory. Through n layers n (L - 1) tokens still reach a
target, so the loss can be below that of the matched protocol at L.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from lengthgen.model import Transformer
from lengthgen.retrofits import base
from lengthgen.retrofits import hard_window as retrofit
from lengthgen.schemes.wrapper import Wrapper

PROTOCOL = "hard_window"


@contextmanager
def confined(model: Transformer) -> Iterator[None]:
    """The model under the window, until the block ends.

    ConfigError if the scheme has a window of its own that cannot be combined with this one.
    """
    trained = model.scheme
    model.scheme, wrapper = base.apply(retrofit.HardWindow, retrofit.Config(), trained)
    wrapper.eval()
    try:
        # Two windows that cannot be combined raise here, not in the middle of an evaluation.
        for layer in range(trained.dimensions.n_layers):
            model.scheme.span(layer)
        yield
    finally:
        remove(model, wrapper)


def remove(model: Transformer, wrapper: Wrapper) -> None:
    """Take a wrapper out again, wherever it lies."""
    if model.scheme is wrapper:
        model.scheme = wrapper.inner
        return
    # Modifiers stay outermost, so the wrapper may lie inside others.
    outer = model.scheme
    while isinstance(outer, Wrapper):
        if outer.inner is wrapper:
            outer.inner = wrapper.inner
        outer = outer.inner
