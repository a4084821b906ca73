"""The model confined to a hard window of its training length, for the protocol of the same name: does it use more than it was trained on?

Every query sees the last L keys, in every layer, and positions stay as they are: the hard_window retrofit around the trained scheme, put
there in memory and taken away again. Through n layers n (L - 1) tokens still reach a target, so that a model can come out better than
under the matched protocol at L.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from lengthgen.model import Transformer
from lengthgen.retrofits import base
from lengthgen.retrofits import hard_window as retrofit
from lengthgen.schemes.base import Scheme

PROTOCOL = "hard_window"


@contextmanager
def confined(model: Transformer) -> Iterator[None]:
    """The model under the window, until the block ends. ConfigError where a window of the scheme's own has no place in it."""
    trained = model.scheme
    model.scheme, wrapper = base.apply(retrofit.HardWindow, retrofit.Config(), trained)
    wrapper.eval()
    try:
        for layer in range(trained.dimensions.n_layers):
            model.scheme.span(layer)
        yield
    finally:
        _take_away(model, wrapper)


def _take_away(model: Transformer, wrapper: Scheme) -> None:
    around = model.scheme
    if around is wrapper:
        model.scheme = wrapper.inner
        return
    while around.inner is not wrapper:
        around = around.inner
    around.inner = wrapper.inner
