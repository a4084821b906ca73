"""The model confined to a hard window of its training length, for the `band` protocol: does it use more than it was trained on?

Every query sees the last L keys, in every layer, and positions stay as they are: the hard_window retrofit around the trained scheme, put
there in memory and taken away again. Through n layers n (L - 1) tokens still reach a target, so that a model can come out better than
under the matched protocol at L.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from lengthgen.model import Transformer
from lengthgen.retrofits import base, hard_window
from lengthgen.schemes.base import Scheme

PROTOCOL = "band"


@contextmanager
def confined(model: Transformer) -> Iterator[None]:
    """The model under the window, until the block ends. ConfigError where a window of the scheme's own has no place in it."""
    trained = model.scheme
    model.scheme, band = base.apply(hard_window.HardWindow, hard_window.Config(), trained)
    band.eval()
    try:
        for layer in range(trained.dimensions.n_layers):
            model.scheme.span(layer)
        yield
    finally:
        _take_away(model, band)


def _take_away(model: Transformer, band: Scheme) -> None:
    around = model.scheme
    if around is band:
        model.scheme = band.inner
        return
    while around.inner is not band:
        around = around.inner
    around.inner = band.inner
