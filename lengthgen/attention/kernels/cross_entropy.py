"""The summed cross entropy of a linear read-out, by chunks of rows, for a GPU.

Written out, the logits of 32,768 tokens over 50,304 ids are 6.6 GB in float32, as large again in
the softmax and again in the gradient. Here the gradient of a chunk of rows is made in the forward
pass, when its logits are there anyway, and the logits go. That is possible because the sum's
gradient with respect to each loss is one and the same number, which the backward pass multiplies
in (the idea of Liger's fused linear cross entropy, Hsu et al. 2024, arXiv:2410.10989). With an
eighth of these tokens, ids, width (768) and chunks, in bfloat16, the peak is 297 MiB written out,
37 MiB here and 13 MiB in Liger 0.8.5, whose chunks have fewer rows than a GPU's products like.

The vocabulary is padded to a multiple of 64 for tensor cores, in the copy of the weight that the
products use: the model's own weight, and what is trained, keeps its shape.

Shape letters: N tokens, E width, V vocabulary, P padded vocabulary, R rows of a chunk.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Logits (R x P) held at a time: 1 GiB in float32.
LOGITS_AT_ONCE = 2**28
PADDED_TO = 64


def serves(device: torch.device) -> bool:
    """Whether to train by it: on a CPU all logits at once are as fast, and seldom too large."""
    return device.type != "cpu"


def total(
    hidden: Float[Tensor, "N E"], weight: Float[Tensor, "V E"], targets: Int[Tensor, " N"]
) -> Float[Tensor, ""]:
    """The sum of -ln p(target) in nats, float32 at least; a target below 0 counts nothing.

    The products are in autocast's dtype where it is on. First derivatives only.
    """
    device = hidden.device.type
    autocast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else hidden.dtype
    with torch.autocast(device, enabled=False):
        return _Total.apply(hidden, weight, targets, dtype)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        ids = weight.shape[0]
        padded = functional.pad(weight.to(dtype), (0, 0, 0, -ids % PADDED_TO))
        wide = torch.promote_types(dtype, torch.float32)
        loss = torch.zeros((), dtype=wide, device=hidden.device)
        d_rows = []
        d_weight = torch.zeros(padded.shape, dtype=wide, device=hidden.device)
        at_once = _rows(len(targets), len(padded))
        for some, rows in zip(targets.split(at_once), hidden.split(at_once), strict=True):
            rows = rows.to(dtype)
            one, gradient = _chunk(rows @ padded.T, some, ids, wide)
            loss = loss + one
            d_rows.append(gradient @ padded)
            d_weight += gradient.T @ rows
        ctx.save_for_backward(torch.cat(d_rows), d_weight[:ids])
        ctx.dtypes = hidden.dtype, weight.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_hidden, d_weight = ctx.saved_tensors
        of_hidden, of_weight = ctx.dtypes
        return (d_hidden * grad).to(of_hidden), (d_weight * grad).to(of_weight), None, None


def _chunk(logits: Tensor, targets: Tensor, ids: int, wide: torch.dtype) -> tuple[Tensor, Tensor]:
    """The sum of the losses of (R, P) logits, and its gradient (R, P), in their memory."""
    known = logits[:, :ids]  # the others are 0, and so is their gradient
    scores = known.to(wide)
    normaliser = scores.logsumexp(-1, keepdim=True)
    scored = (targets >= 0)[:, None]
    target = targets.clamp(min=0)[:, None]
    loss = ((normaliser - scores.gather(1, target)) * scored).sum()
    gradient = scores.sub_(normaliser).exp_()
    gradient.add_(torch.arange(ids, device=logits.device) == target, alpha=-1).mul_(scored)
    known.copy_(gradient)
    return loss, logits


def _rows(n_tokens: int, padded: int) -> int:
    """Rows of a chunk: as many as LOGITS_AT_ONCE holds, the chunks about equal."""
    n_chunks = -(-n_tokens * padded // LOGITS_AT_ONCE)
    return max(1, -(-n_tokens // max(1, n_chunks)))
