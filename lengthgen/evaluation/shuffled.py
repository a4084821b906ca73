"""The model at its training length with its positions shuffled: does it use them at all?

The tokens, their order and the causal mask stay as they are; the positions that the scheme is told
are permuted, by one permutation for each length. Position embeddings and rotations of token i are
those of p(i); a bias by offset or row of query i and key j is that of max(p(i), p(j)) and
min(p(i), p(j)), so that a Toeplitz bias is read at |p(i) - p(j)|. A model that uses its positions
loses by it. Modifiers around the scheme (log n, windows) keep the true positions.

The inner scheme is wrapped in memory, as for the hard_window protocol.

Shape letters: H heads, R query rows, S keys, T tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Rows, Toeplitz
from lengthgen.errors import ConfigError
from lengthgen.evaluation import hard_window
from lengthgen.model import Transformer
from lengthgen.modifiers.base import Modifier
from lengthgen.modifiers.scaling import Scaled
from lengthgen.schemes.base import Scheme, name_of
from lengthgen.schemes.wrapper import Wrapper

PROTOCOL = "shuffled"
SEED = 20_240_229  # of the permutation
# Hooks through which the text, or a scheme by itself, decides what positions do.
OTHERS = ("read", "steer", "gates")


class Shuffled(Wrapper):
    """Tells the scheme inside permuted positions."""

    def __init__(self, inner: Scheme):
        super().__init__(None, inner)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return self.inner.embed(x, positions[permutation(positions)])

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return self.inner.rotate(q, k, positions[permutation(positions)], layer)

    def biases(self, positions: Tensor) -> list[Bias | None]:
        """Each object is changed once, so that layers that share a bias still do."""
        biases, order = self.inner.biases(positions), permutation(positions)
        different = {id(bias): bias for bias in biases}
        changed = {key: _reordered(bias, order) for key, bias in different.items()}
        return [changed[id(bias)] for bias in biases]


def permutation(positions: Tensor) -> Tensor:
    """(T,) int64, the same for every window of T tokens."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randperm(len(positions), generator=generator).to(positions.device)


def refusal(scheme: Scheme) -> str | None:
    """Why a scheme's positions cannot be shuffled, in one line; None if they can."""
    declared = scheme.declaration
    if declared.acts_on == "nothing":
        return "the scheme has no positions that could be shuffled"
    if scheme.structure not in ("none", "toeplitz", "rows"):
        return (
            f"scores of the structure {scheme.structure} are not read from positions alone, "
            "so that they cannot be shuffled"
        )
    for part in _around(scheme):
        for hook in OTHERS:
            if getattr(type(part), hook) not in (getattr(Scheme, hook), getattr(Wrapper, hook)):
                return (
                    f"{name_of(type(part))} does not go by the positions that it is given alone "
                    f"(it has its own {hook}), so that they cannot be shuffled"
                )
    return None


@contextmanager
def shuffled(model: Transformer) -> Iterator[None]:
    """The model under the wrapper, until the block ends. ConfigError if it is refused."""
    around: Wrapper | None = None
    scheme = model.scheme
    while isinstance(scheme, Modifier | Scaled):
        around, scheme = scheme, scheme.inner
    if reason := refusal(scheme):
        raise ConfigError(reason)
    wrapper = Shuffled(scheme).eval()
    if around is None:
        model.scheme = wrapper
    else:
        around.inner = wrapper
    try:
        yield
    finally:
        hard_window.remove(model, wrapper)


def _around(scheme: Scheme) -> Iterator[Scheme]:
    """The scheme and what it wraps."""
    yield scheme
    while isinstance(scheme, Wrapper):
        scheme = scheme.inner
        yield scheme


def _reordered(bias: Bias | None, order: Tensor) -> Bias | None:
    if isinstance(bias, Toeplitz):
        vector = bias.vector
        return Rows(lambda first, last: vector[:, (order[first:last, None] - order[:last]).abs()])
    if isinstance(bias, Rows):
        table = bias.block(0, len(order))  # (H, T, T)
        return Rows(
            lambda first, last: table[
                :,
                torch.maximum(order[first:last, None], order[:last]),
                torch.minimum(order[first:last, None], order[:last]),
            ]
        )
    return bias
