"""Continuing texts token by token, with a cache.

Shape letters: B sequences, T tokens of a prompt, V vocabulary.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lengthgen.attention.continuation import Continuation
from lengthgen.config.dataclass_from import check
from lengthgen.decoding.cache import Cache
from lengthgen.decoding.sampling import Sampling
from lengthgen.errors import ConfigError
from lengthgen.schemes.base import Scheme


@runtime_checkable
class Decodes(Protocol):
    """A model that can continue a text, as model.Transformer."""

    scheme: Scheme
    training: bool

    def continued(self, tokens: Tensor, cache: Continuation) -> Tensor: ...

    def logits(self, hidden: Tensor) -> Tensor: ...


class Decoder:
    """A model and its cache. ConfigError if the model is in training, or its scheme is refused."""

    def __init__(self, model: Decodes, room: int = 0):
        """room: tokens that are expected in all, the prompt's included."""
        check(not model.training, "decoding: the model is in training; call model.eval() first")
        self.model, self.cache = model, Cache(model.scheme, room)

    @torch.no_grad()
    def prefill(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        """Logits of the token after each prompt. ConfigError if a text was begun already."""
        if self.cache.length:
            raise ConfigError(
                f"prefill after {self.cache.length} tokens: expected an empty cache; call step"
            )
        return self._logits(tokens)

    @torch.no_grad()
    def step(self, tokens: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Logits of the token after these, one a sequence."""
        return self._logits(tokens[:, None])

    def _logits(self, tokens: Tensor) -> Tensor:
        return self.model.logits(self.model.continued(tokens, self.cache)[:, -1])


@torch.no_grad()
def generate(
    model: Decodes,
    tokens: Int[Tensor, "B T"],
    n: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "B {n}"]:
    """The n tokens that follow each prompt, by a model in evaluation mode, with a cache.

    tokens: prompts of one length, on the model's device. temperature 0: the likeliest token, else
    drawn from softmax(logits / temperature), among the top_k likeliest if given, by `generator`.
    Prompt and continuation may be longer than the training windows.
    ConfigError for other values, and for a scheme that no cache can serve or that refuses the
    length.
    """
    check(n >= 1, f"n={n}: expected a number of tokens, 1 or more")
    check(
        tokens.ndim == 2 and tokens.numel() > 0 and not tokens.is_floating_point(),
        f"tokens of shape {tuple(tokens.shape)} and type {tokens.dtype}: expected whole numbers, "
        "(sequences, tokens), at least one of each",
    )
    sampling = Sampling(temperature, top_k, generator)
    # The last token is not read again.
    room = tokens.shape[1] + n - 1
    decoder = Decoder(model, room)
    if reason := model.scheme.refusal(room):
        raise ConfigError(reason)
    logits = decoder.prefill(tokens)
    continuation = [sampling.next(logits)]
    while len(continuation) < n:
        continuation.append(sampling.next(decoder.step(continuation[-1])))
    return torch.stack(continuation, dim=1)
