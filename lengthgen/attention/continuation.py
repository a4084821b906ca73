"""What a model asks while new tokens continue a text whose keys and values are kept.

lengthgen/decoding/cache.py is the one; a model knows this much of it. A model that decodes has
`scheme`, `logits(hidden)` and `continued(tokens, cache)`, which calls `embed` once and then
`attend` once a layer, from 0, in evaluation mode.

Shape letters: B sequences, R new tokens, H heads, K heads of keys and values (K divides H), D and
Dv sizes of a head, E width.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Continuation(Protocol):
    """Tokens so far, as attention needs them."""

    def embed(
        self, x: Float[Tensor, "B R E"], tokens: Int[Tensor, "B R"]
    ) -> Float[Tensor, "B R E"]:
        """Begins a step: the scheme's `embed` of new tokens, x their embeddings."""

    def attend(
        self,
        q: Float[Tensor, "B H R D"],
        k: Float[Tensor, "B K R D"],
        v: Float[Tensor, "B K R Dv"],
        x: Float[Tensor, "B R E"],
        layer: int,
    ) -> Float[Tensor, "B H R Dv"]:
        """The mixture of values for new tokens, which are kept.

        q, k: before the scheme's hooks, after the model's own normalisation. x: attention's
        normalised input.
        """
