"""The next token from its logits: the likeliest, or one drawn.

Shape letters: B sequences, V vocabulary.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lengthgen.config.dataclass_from import check


@dataclass(frozen=True)
class Sampling:
    """temperature 0: the likeliest token. top_k: draw among the k likeliest; None: among all."""

    temperature: float = 0.0
    top_k: int | None = None
    generator: torch.Generator | None = None  # None: torch's global one

    def __post_init__(self):
        check(
            0 <= self.temperature < float("inf"),
            f"temperature={self.temperature}: expected a finite number, 0 (the likeliest token) "
            "or more",
        )
        check(
            self.top_k is None or self.top_k >= 1,
            f"top_k={self.top_k}: expected a number of tokens, 1 or more, or None",
        )
        check(
            self.top_k is None or self.temperature > 0,
            f"top_k={self.top_k} has no effect at temperature 0: expected temperature > 0 with it",
        )

    def next(self, logits: Float[Tensor, "B V"]) -> Int[Tensor, " B"]:
        """One token a sequence. The draw is made on the generator's device."""
        if self.temperature == 0:
            return logits.argmax(-1)
        scores = logits.float() / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k, dim=-1).values[:, -1:]
            scores = scores.masked_fill(scores < least, float("-inf"))
        device = scores.device if self.generator is None else self.generator.device
        shares = scores.softmax(-1).to(device)
        return shares.multinomial(1, generator=self.generator)[:, 0].to(scores.device)
