"""What one layer keeps of a text, and its attention of new tokens.

structured.py serves every scheme but those that compute their own scores: general.py through their
hooks, and two_distances.py where these are products of turned queries and keys.

The first tokens of a text go through the kernels of whole windows, all at once, and then one token
at a time goes against what was kept.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor

from lengthgen.decoding.buffer import Buffer
from lengthgen.decoding.step import Step


@runtime_checkable
class LayerCache(Protocol):
    def attend(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, step: Step) -> Tensor:
        """The mixture (B, H, R, Dv) of new tokens, which are kept.

        q (B, H, R, D), k (B, K, R, D) and v (B, K, R, Dv) after the scheme's `rotate` and `steer`;
        x (B, R, E), or (B, T, E) of all tokens where the scheme reads it.
        """

    def buffers(self) -> list[Buffer]:
        """All that is kept."""
