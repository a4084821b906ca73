"""The definition of attention, written out: softmax(scale * q k^T + bias) v, masked.

Hidden are the future and what lies outside a span. Any floating dtype and device, differentiable as
often as needed, O(B H T^2) memory. The tests compare every other kernel with it.
"""

import torch
from torch import Tensor
from torch.nn import functional

from lengthgen.attention.bias_forms import Span


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    scale: float,
    dropout: float = 0.0,
    span: Span | None = None,
) -> Tensor:
    """q, k, v (B, H, T, D); bias (H, T, T), (B, H, T, T) or None -> (B, H, T, D).

    The bias's entries outside `span` and above the diagonal are ignored.
    """
    length = q.shape[-2]
    scores = scale * (q @ k.transpose(-2, -1))
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    i, j = torch.arange(length, device=q.device)[:, None], torch.arange(length, device=q.device)
    hidden = j > i
    if span is not None and span.window is not None:
        hidden |= (j <= i - span.window) & (j >= span.sinks)
    weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
    return functional.dropout(weights, dropout) @ v
