"""The definition of attention, written out: softmax(scale * q k^T + bias) v with the future masked.

Any floating dtype and device, differentiable as often as wanted, O(B H T^2) memory. It is the oracle of tests/test_attention.py.

Shape letters: B batch, H heads, T queries = keys, D head size.
"""

import torch
from torch import Tensor
from torch.nn import functional


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, dropout: float = 0.0) -> Tensor:
    """q, k, v (B, H, T, D); bias (H, T, T) or None, its entries above the diagonal ignored -> (B, H, T, D)."""
    length = q.shape[-2]
    scores = scale * (q @ k.transpose(-2, -1))
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    future = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
    weights = scores.masked_fill(future, float("-inf")).softmax(-1)
    return functional.dropout(weights, dropout) @ v
