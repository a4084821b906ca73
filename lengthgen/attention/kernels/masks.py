"""The additive mask of a chunk of query rows, as torch's masked kernels want it.

It holds a bias and, in the future, -inf. The masked kernels on CUDA load whole vectors of a mask's
row, so its rows start at multiples of ALIGNMENT elements (pytorch #104310).

Shape letters beside those of __init__.py: C query rows of a chunk.
"""

import torch
from torch import Tensor
from torch.nn import functional

from lengthgen.attention.kernels.rows import BlockOf
from lengthgen.attention.kernels.windows_and_sinks import hide

ALIGNMENT = 16  # elements: 32 bytes in bfloat16


def aligned(mask: Tensor) -> Tensor:
    """The same values, rows starting at multiples of ALIGNMENT elements. Differentiable."""
    length = mask.shape[-1]
    if length % ALIGNMENT == 0:
        return mask
    return functional.pad(mask, (0, -length % ALIGNMENT))[..., :length]


class VectorRows:
    """Masks from one vector (H, T) by offset, each a copy of shifted rows: nothing is (T, T)."""

    def __init__(self, vector: Tensor, chunk: int):
        """chunk: the most rows that will be asked for at once."""
        self.length = vector.shape[1]
        future = vector.new_full((vector.shape[0], chunk + ALIGNMENT), float("-inf"))
        # Entry T - 1 - o belongs to offset o.
        self.padded = torch.cat([vector.detach().flip(1), future], dim=1)

    def mask(self, first: int, last: int) -> Tensor:
        """(H, last - first, last) in the vector's dtype: queries first..last-1, keys 0..last-1."""
        rows, width = last - first, last + -last % ALIGNMENT
        # From the last row up, each row reads the padded vector from one place further on.
        upwards = self.padded.as_strided(
            (self.padded.shape[0], rows, width), (self.padded.stride(0), 1, 1), self.length - last
        )
        # reshape and view: flip gives a single row an arbitrary stride, which kernels refuse.
        return upwards.flip(1).reshape(-1).view(-1, rows, width)[..., :last]


class MatrixRows:
    """Masks from a function of the rows, such as a bias's block; without gradients, never kept."""

    def __init__(self, block_of: BlockOf, dtype: torch.dtype | None = None):
        """dtype: of the masks; None leaves the function's own."""
        self.block_of, self.dtype = block_of, dtype

    def mask(self, first: int, last: int) -> Tensor:
        """Queries first..last-1 against keys 0..last-1: (H, last - first, last)."""
        with torch.no_grad():
            block = self.block_of(first, last)
            return aligned(hide(block.to(self.dtype or block.dtype), first, last, None))
