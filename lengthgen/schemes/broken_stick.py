"""The weights of stick-breaking attention and their gradient: from the nearest key back.

Keys behind which nothing is left of any row's stick are left out. The gradient is written by hand,
since autograd's would pass over every pair three times as often.

Shape letters: B sequences, H heads, R query rows, S keys, W the last keys.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from lengthgen.schemes import from_the_right

LOG2E = math.log2(math.e)


def weights(logits: Tensor, without: int | None = None) -> Tensor:
    """Weights (B, H, R, W) of logits (B, H, R, S), the last key breaking first; 0 where it is -inf.

    without: the first row, if no row r takes of key `without` + r, its own. W <= S: the last keys;
    where the others' weights would all be 0 in this dtype, they are left out.
    """
    return _Broken.apply(logits, without)


class _Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, without: int | None) -> Tensor:
        # In logarithms, as products of sigmoids would underflow.
        nothing = 20 - math.log(torch.finfo(logits.dtype).smallest_normal)  # no denormals either
        shares: list[Tensor] = []
        newer = None
        for keys in from_the_right.tiles(logits.shape[-1], logits.device):
            some = logits[..., keys]
            if without is not None and keys.stop > without:
                some = some.clone()
                some.diagonal(without - keys.start, -2, -1).fill_(float("-inf"))
            # -ln of what each key and those after it leave; ln sigmoid(z) = z - softplus(z).
            taken = from_the_right.summed_(F.softplus(some, threshold=40.0), newer)
            newer = taken[..., :1].clone()
            # exp2, because exp takes many times as long where results are denormal.
            shares.append(torch.sub(some, taken, out=taken).mul_(LOG2E).exp2_())
            if from_the_right.is_end(newer, nothing):
                break
        out = shares[0] if len(shares) == 1 else torch.cat(shares[::-1], -1)
        ctx.save_for_backward(logits, out)
        ctx.without = without
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        logits, weights = ctx.saved_tensors
        n_older = logits.shape[-1] - weights.shape[-1]
        shares = logits[..., n_older:].sigmoid()
        if ctx.without is not None:
            shares.diagonal(ctx.without - n_older, -2, -1).zero_()
        of_logs = grad * weights
        out = torch.empty_like(logits)
        out[..., :n_older] = 0
        # What a key takes is missing from its own share and from those of all before it.
        torch.addcmul(of_logs, shares, of_logs.cumsum(-1), value=-1, out=out[..., n_older:])
        return out, None
