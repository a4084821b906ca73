"""Attention of the newest token of each sequence to the keys that a cache holds.

Grouped heads: H heads of queries, K of keys and values, K divides H; query head h reads key head
h // (H / K).
Shape letters beside those of __init__.py: S keys, Dv size of a value.
"""

import torch
from torch import Tensor
from torch.nn import functional


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """softmax(scale q k^T + mask) v: q (B, H, 1, D), k (B, K, S, D), v (B, K, S, Dv) in one dtype.

    mask: broadcasts to (B, H, 1, S). Returns (B, H, 1, Dv) in q's dtype.
    """
    if k.shape[-1] != v.shape[-1]:  # torch's fused kernels want one size
        wide = torch.promote_types(q.dtype, torch.float32)
        scores = scores_of(q.to(wide), k.to(wide)) * scale
        return mixed(scores if mask is None else scores + mask, v.to(wide)).to(q.dtype)
    mask = None if mask is None else mask.to(q.dtype)
    grouped = q.shape[1] != k.shape[1]
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=scale, enable_gqa=grouped
    )


def scores_of(q: Tensor, k: Tensor) -> Tensor:
    """q k^T: (B, H, 1, D) and (B, K, S, D) -> (B, H, 1, S)."""
    B, H, _, D = q.shape
    return (q.reshape(B, k.shape[1], -1, D) @ k.mT).view(B, H, 1, -1)


def mixed(scores: Tensor, v: Tensor) -> Tensor:
    """Values mixed by softmax: (B, H, 1, S) and (B, K, S, Dv) -> (B, H, 1, Dv)."""
    B, H, _, S = scores.shape
    weights = scores.softmax(-1).view(B, v.shape[1], -1, S)
    return (weights @ v).view(B, H, 1, -1)


def for_each_head(x: Tensor, n_heads: int) -> Tensor:
    """(B, K, S, D) -> (B, H, S, D): heads of keys or values, each repeated for its queries."""
    K = x.shape[1]
    return x if n_heads == K else x.repeat_interleave(n_heads // K, dim=1)
