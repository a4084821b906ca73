"""Scores that are a product of query and key turned in one of two ways, by how far back the key is.

So are those of ReRoPE, Self-Extend, StreamingLLM and LM-Infinite around rotary schemes: near keys
at their own distance, far ones at another. Decoding keeps each key in the ways that are still
needed, where a pass over a whole window computes both matrices of scores.

Shape letters: B sequences, R the newest tokens, H heads, K heads of keys, D head size.
"""

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class TwoDistances:
    """score(i, j) = q_i . k_j, with no further factor, of the pair `far` or `near`.

    A key is far if it is at least `window` tokens back and the query's index is at least
    `far_from`. near, far: queries (B, H, R, D) and keys (B, K, R, D), as such pairs see them.
    """

    near: tuple[Tensor, Tensor]
    far: tuple[Tensor, Tensor]
    window: int
    far_from: int = 0

    def of(self, texts: slice) -> "TwoDistances":
        """Those of some sequences."""
        near, far = ((q[texts], k[texts]) for q, k in (self.near, self.far))
        return replace(self, near=near, far=far)

    def times(self, factor: Tensor) -> "TwoDistances":
        """All scores times a factor (H or 1, R, 1) of each query."""
        (q, k), (q_far, k_far) = self.near, self.far
        return replace(self, near=(q * factor, k), far=(q_far * factor, k_far))
