"""The additive mask of a chunk of query rows, as torch's masked kernels want it: a bias and, in the future, -inf.

The masked kernels on CUDA load whole vectors of a mask's row, so its rows start at multiples of ALIGNMENT elements (pytorch #104310).

Shape letters: H heads, T queries = keys, C query rows of a chunk.
"""

import torch
from torch import Tensor
from torch.nn import functional

from lengthgen.attention.kernels.rows import BlockOf

ALIGNMENT = 16  # elements: 32 bytes in bfloat16


def aligned(mask: Tensor) -> Tensor:
    """The same values, rows starting at multiples of ALIGNMENT elements: a view of a padded copy if need be. Differentiable."""
    length = mask.shape[-1]
    return (
        mask
        if length % ALIGNMENT == 0
        else functional.pad(mask, (0, -length % ALIGNMENT))[..., :length]
    )


class VectorRows:
    """Masks from one vector (H, T) by offset, each a copy of shifted rows: no index tensor, no (T, T) anything."""

    def __init__(self, vector: Tensor, chunk: int):
        """chunk: the most rows that will be asked for at once."""
        self.length = vector.shape[1]
        future = vector.new_full((vector.shape[0], chunk + ALIGNMENT), float("-inf"))
        self.padded = torch.cat(
            [vector.detach().flip(1), future], dim=1
        )  # entry T - 1 - o belongs to offset o

    def mask(self, first: int, last: int) -> Tensor:
        """Queries first..last-1 against keys 0..last-1: (H, last - first, last) in the vector's dtype."""
        rows, width = last - first, last + -last % ALIGNMENT
        # From the last row up, the rows are the padded vector read from one place further on each time.
        upwards = self.padded.as_strided(
            (self.padded.shape[0], rows, width), (self.padded.stride(0), 1, 1), self.length - last
        )
        return (
            upwards.flip(1).reshape(-1).view(-1, rows, width)[..., :last]
        )  # flip leaves a single row with a stride of its own making


class MatrixRows:
    """Masks from a function of the rows, such as structures.Rows.block; evaluated without a gradient, kept by nobody."""

    def __init__(self, block_of: BlockOf, dtype: torch.dtype | None = None):
        """dtype: of the masks; None leaves the function's own."""
        self.block_of, self.dtype = block_of, dtype

    def mask(self, first: int, last: int) -> Tensor:
        """Queries first..last-1 against keys 0..last-1: (H, last - first, last)."""
        with torch.no_grad():
            block = self.block_of(first, last)
            future = torch.ones(last - first, last, dtype=torch.bool, device=block.device).triu(
                first + 1
            )
            return aligned(block.to(self.dtype or block.dtype).masked_fill(future, float("-inf")))
