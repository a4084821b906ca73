"""Sums over a row's keys from the newest back, tile by tile, until the older keys no longer count.

For schemes whose scores or weights are decided by running sums of the keys between key and query,
and stand still once a sum is large (CoPE: positions are clamped; stick-breaking: nothing is left).
On CPU the tiles end there, which is exact: half of the work at 512 tokens, a fraction further on.
On a GPU one tile holds the row, because to look at a sum would make the processor wait; and so
under torch.compile, which cannot trace what a number decides.

Shape letters: B sequences, H heads, R query rows, S keys, W keys of a tile.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

TILE = 128  # keys


def tiles(keys: int, device: torch.device) -> Iterator[slice]:
    """The keys 0..keys-1 from the last tile to the first."""
    width = TILE if _may_look(device) else keys
    for last in range(keys, 0, -width):
        yield slice(max(0, last - width), last)


def summed_(x: Tensor, newer: Tensor | None) -> Tensor:
    """Each entry of x (B, H, R, W) and those right of it, `newer` (B, H, R, 1) added; x is lost."""
    x = x.flip(-1)
    torch.cumsum(x, -1, out=x)
    if newer is not None:
        x += newer
    return x.flip(-1)


def is_end(at_most: Tensor, than: float) -> bool:
    """Whether every number is beyond `than`, where to ask costs nothing."""
    return _may_look(at_most.device) and bool(at_most.amin() > than)


def _may_look(device: torch.device) -> bool:
    return device.type == "cpu" and not torch.compiler.is_compiling()
