"""CoPE's values at counted positions, and their gradient: the element-wise work of its scores.

Once every row has counted to the last position, older keys read that one: no gates, no gather. The
gradient is written by hand, since autograd's would pass over every pair three times as often.

Shape letters: B sequences, H heads, R query rows, S keys, W keys of a tile, P positions.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lengthgen.schemes import from_the_right


def read(scores: Tensor, values: Tensor, first: int) -> Tensor:
    """Scores (B, H, R, S) of rows first..first+R-1 plus values (B, H, R, P) where each has counted.

    Between two positions a value is interpolated. First derivatives only.
    """
    return _Counted.apply(scores, values, first)


class _Counted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, values: Tensor, first: int) -> Tensor:
        steps = values.diff(dim=-1)
        out = torch.empty_like(scores)
        ctx.tiles, ctx.shape = [], values.shape
        newer, oldest = None, 0
        for keys in from_the_right.tiles(scores.shape[-1], scores.device):
            some = scores[..., keys]
            gates, places = counts(some, first - keys.start, newer)
            newer, oldest = places[..., :1].clone(), keys.start
            below, share = _between(places, values.shape[-1])
            step = steps.gather(-1, below)
            out[..., keys] = values.gather(-1, below).addcmul_(share, step).add_(some)
            # Past the last position no gate counts.
            step.masked_fill_(share == 1, 0.0)
            ctx.tiles.append((keys, gates, below, share, step))
            if from_the_right.is_end(newer, values.shape[-1] - 1):
                break
        torch.add(scores[..., :oldest], values[..., -1:], out=out[..., :oldest])
        ctx.oldest = oldest
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        of_scores = grad.clone(memory_format=torch.contiguous_format)
        of_values = grad.new_zeros(ctx.shape)
        of_values[..., -1] = grad[..., : ctx.oldest].sum(-1)
        older = None
        # A gate counts for its own key and for all before it.
        for keys, gates, below, share, step in reversed(ctx.tiles):
            some = grad[..., keys]
            upper = share * some
            of_values.scatter_add_(-1, below, some - upper)
            of_values[..., 1:].scatter_add_(-1, below, upper)
            of_gates = step * some
            torch.cumsum(of_gates, -1, out=of_gates)
            if older is not None:
                of_gates += older
            older = of_gates[..., -1:].clone()
            of_scores[..., keys] += torch.ops.aten.sigmoid_backward(of_gates, gates)
        return of_scores, of_values, None


def counts(scores: Tensor, diagonal: int, newer: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gates, 0 where a key is later, and p_ij before the clamp, both (B, H, R, W)."""
    # Gates of later keys are 0 before the sum runs from the right, or the future would leak.
    gates = scores.sigmoid().tril_(diagonal)
    return gates, from_the_right.summed_(gates, newer)


def _between(places: Tensor, n_positions: int) -> tuple[Tensor, Tensor]:
    """The whole position below each place, so that the next exists too, and the share of that."""
    places = places.clamp_(max=n_positions - 1)
    below = places.floor().clamp_(max=n_positions - 2)
    return below.long(), places.sub_(below)
