"""Sums on the same tokens for every seed: what a comparison is estimated from.

Shape letters: S seeds, A evaluation lengths, D documents. Sums in nats.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lengthgen.errors import DataError
from lengthgen.statistics import bootstrap


@dataclass(frozen=True)
class Paired:
    """Sums of a quantity over the same tokens for every seed: differences of losses, or the losses.

    n_tokens: how many tokens each sum is over.
    """

    sums: Float[np.ndarray, "S A D"]
    n_tokens: Float[np.ndarray, "A D"]

    @property
    def n_seeds(self) -> int:
        return len(self.sums)

    @property
    def value(self) -> Float[np.ndarray, " A"]:
        """Nats a token, over all seeds."""
        return self.seed_values.mean(axis=0)

    @property
    def seed_values(self) -> Float[np.ndarray, "S A"]:
        return bootstrap.token_mean(self.sums, np.broadcast_to(self.n_tokens, self.sums.shape))

    def minus(self, other: "Paired", times: Float[np.ndarray, " A"] | float = 1.0) -> "Paired":
        """self - times * other, on the same targets; `other` has the same seeds or one row."""
        require_same_targets(self.n_tokens, other.n_tokens)
        sums = self.sums - np.reshape(times, (-1, 1)) * over_seeds(other.sums, self.n_seeds)
        return Paired(sums, self.n_tokens)

    def table(self) -> Float[np.ndarray, "S A D"]:
        """A value for each seed and document whose plain mean is `value`: the ratio linearised.

        Cochran 1977, Sampling Techniques, section 6.3 and, for clusters, 9A.
        """
        value, tokens = self.value, self.n_tokens.mean(axis=1)
        weighted = bootstrap.ratio(self.n_tokens, tokens[:, None])
        scaled = self.sums / np.where(tokens > 0, tokens, np.nan)[:, None]
        return value[:, None] * (1 - weighted) + scaled


def require_same_targets(one: np.ndarray, other: np.ndarray) -> None:
    """DataError unless both sides count as many tokens of every length and document."""
    if one.shape != other.shape:
        raise DataError(
            f"token counts have the shapes {one.shape} and {other.shape}; "
            "expected the same lengths and documents"
        )
    if not np.array_equal(one, other):
        raise DataError(
            f"{int((one != other).sum())} of {one.size} token counts differ between the two sides; "
            "a paired difference needs the same targets: compare evaluations of the matched "
            "protocol with the same settings"
        )


def over_seeds(sums: np.ndarray, n_seeds: int) -> np.ndarray:
    """The sums of n_seeds seeds, or one row for all of them. DataError otherwise."""
    if len(sums) not in (1, n_seeds):
        raise DataError(
            f"{n_seeds} seeds are compared with {len(sums)}; expected the same seeds on both sides"
        )
    return np.broadcast_to(sums, (n_seeds, *sums.shape[1:]))
