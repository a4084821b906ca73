"""Stick-breaking attention, no softmax: from the nearest key back, each takes a share of the rest.

Source: Tan et al., "Scaling stick-breaking attention" (ICLR 2025, arXiv 2410.17980);
shawntan/stickbreaking-attention, sb_ref.py and tests/test_attn.py.
Formula: z_ij = q_i . k_j / sqrt(D), b_ij = sigmoid(z_ij), A_ij = b_ij * product over t = j + 1 .. i
- 1 of (1 - b_it) for j < i; output_i = sum over j < i of A_ij v_j + (1 - sum over j of A_ij) v_i.
As in the official default a query does not attend to its own token (attend_current=true: t and j
run to i), and what is left of the stick goes to that token's value (remainder=drop: to nothing, so
that weights sum to less than 1). The first token has only itself.
Positions come from the order alone: of two equal scores the nearer takes its share first.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from lengthgen.config.dataclass_from import choice
from lengthgen.schemes import from_the_right
from lengthgen.schemes.base import Declaration, Scheme

LOG2E = math.log2(math.e)


@dataclass
class Config:
    # the query's own key takes the first share; false (official): only earlier keys do
    attend_current: bool = False
    # what is left of the stick: value (added to the token's own value) | drop
    remainder: str = "value"

    def __post_init__(self):
        choice("scheme.remainder", self.remainder, ("value", "drop"))


class StickBreaking(Scheme):
    """Replaces the softmax. No parameters."""

    Config = Config
    structure = "general"
    reads_text = False

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Tan et al., ICLR 2025, arXiv 2410.17980",
            year=2024,
            acts_on="scores",
            sharing="no parameters",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}",
            tail="defined at any length: shares of what is left of the stick",
            oracles=("torch.distributions", "float64 loop"),
        )

    def mix(self, logits: Tensor, v: Tensor, layer: int, first: int) -> Tensor:
        rows = logits.shape[2]
        weights = broken(logits, None if self.config.attend_current else first)
        mixed = weights @ v[:, :, v.shape[2] - weights.shape[-1] :]
        if self.config.remainder == "value":
            mixed = mixed + (1 - weights.sum(-1, keepdim=True)) * v[:, :, first : first + rows]
        return mixed


def broken(logits: Tensor, without: int | None = None) -> Tensor:
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
        weights: list[Tensor] = []
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
            weights.append(torch.sub(some, taken, out=taken).mul_(LOG2E).exp2_())
            if from_the_right.is_end(newer, nothing):
                break
        out = weights[0] if len(weights) == 1 else torch.cat(weights[::-1], -1)
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
