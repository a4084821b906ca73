"""Forward of attention on CPU by large products through oneDNN, with the softmax taken over tiles.

Torch's flash kernel multiplies by MKL. Where oneDNN does that twice as fast (onednn.py), a few
passes over a tile of scores cost less than is saved, once the tile is large: in evaluation, from
1024 tokens on, where `serve` says so. Measured (float32, D 32, one and two threads): 0.86 and 0.95
of the flash kernel's time at 1024 tokens, 0.68 and 0.74 at 2048, 0.66 and 0.72 at 4096; D 64 at
2048: 0.58 and 0.60. The running maximum and sum are those of Milakov and Gimelshein (2018,
arXiv:1805.02867, algorithm 3). Memory: a few tiles a thread.

Shape letters beside those of __init__.py: R queries of a chunk, S keys.
"""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import onednn
from lengthgen.attention.kernels.rows import chunks
from lengthgen.attention.kernels.threads import Part
from lengthgen.attention.kernels.windows_and_sinks import most_keys

QUERIES = 512  # of a tile
# Of a tile; a multiple of QUERIES, so that products have few shapes: oneDNN compiles each one.
KEYS = 2048
FEWEST_KEYS = 1024
LOG2E = math.log2(math.e)


def serve(length: int, span: Span | None) -> bool:
    """Whether a window of `length` tokens should go by tiles now."""
    enough = most_keys(span, 1, length) >= FEWEST_KEYS
    return enough and not torch.is_grad_enabled() and onednn.available() and onednn.faster()


def forward_part(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    *,
    scale: float,
    bias: Any,
    part: Part,
) -> None:
    """Writes `out` (B, H, T, D) and `logsumexp` (B, H, T) of some sequences and heads.

    k and v in the bias's order of keys; bias: a cpu.ChunkedBias.
    """
    q, k, v = (q * scale).contiguous(), k.contiguous(), v.contiguous()
    for rows, _, some_k, some_v, mask in chunks(q, k, v, bias, part):
        for one in itertools.product(*map(range, q.shape[:2])):
            out[one][rows], logsumexp[one][rows] = _attended(
                q[one][rows], some_k[one], some_v[one], mask[one]
            )


def _attended(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """One head: queries (R, D), scaled, keys and values (S, D), mask (R, S) -> (R, D), (R)."""
    tiles = zip(k.split(KEYS), v.split(KEYS), mask.split(KEYS, dim=1), strict=True)
    # Every query sees a key of the first tile, which is wider than the chunk is high, so that no
    # maximum is -inf.
    largest, total, mixture = _tile(q, *next(tiles), None)
    for tile in tiles:
        top, weight, product = _tile(q, *tile, largest)
        shrunk = (largest - top).exp_()
        total, mixture = total.mul_(shrunk).add_(weight), mixture.mul_(shrunk).add_(product)
        largest = top
    return mixture.div_(total), (largest + total.log()).squeeze(-1)


def _tile(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, largest: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The largest scores so far (R, 1), and the tile's weights relative to them: sums, mixture."""
    scores = onednn.product(q, k).add_(mask)
    top = scores.amax(-1, keepdim=True)
    if largest is not None:
        top = torch.maximum(top, largest)
    weights = scores.sub_(top).mul_(LOG2E).exp2_()
    return top, weights.sum(-1, keepdim=True), onednn.product(weights, v.t())
