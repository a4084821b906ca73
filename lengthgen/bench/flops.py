"""Model FLOPs by formula, and the machine's limit: its fastest dense product (attention/linear.py).

A multiplication and an addition are two. The formula counts matrix products alone, and the half of
causal attention that is not masked:
forward(T) = layers (24 width^2 T + 2 width T^2) + 2 width vocab scored.
A training step is three forwards; recomputation does not count.

Shape letters: T tokens in a window.
"""

from collections.abc import Callable

import torch

from lengthgen.attention.linear import linear
from lengthgen.bench.workload import Place, Shape

CAUSAL = 0.5  # the share of the (query, key) pairs that are not masked, as T grows
CEILING_SIZE = {"cpu": 2048, "cuda": 8192}  # square matrices, well past the caches


def forward(shape: Shape, length: int, scored: int, attention: float = CAUSAL) -> float:
    """FLOPs of a window of `length` tokens, the output head on `scored` of them.

    attention: the share of (query, key) pairs that is counted.
    """
    projections = 24 * shape.width**2 * length
    scores = 4 * attention * shape.width * length**2
    return float(shape.layers * (projections + scores) + 2 * shape.width * shape.vocab * scored)


def train_step(shape: Shape) -> float:
    """FLOPs of one optimiser step: forward, and twice that backward."""
    return 3 * shape.batch * forward(shape, shape.length, shape.length)


def ceiling(where: Place, size: int | None = None) -> tuple[Callable[[], object], float]:
    """A call that multiplies two square matrices in the precision of the models, and its FLOPs."""
    size = size or CEILING_SIZE[where.device.type]
    a, b = torch.randn(2, size, size, device=where.device, dtype=where.dtype)
    return lambda: linear(a, b, where.linear), 2.0 * size**3
