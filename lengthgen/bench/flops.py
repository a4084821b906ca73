"""Model FLOPs of a benchmark's shape (model/flops.py), and the machine's limit: its fastest dense
product (attention/linear.py).

Shape letters: T tokens in a window.
"""

from collections.abc import Callable

import torch

from lengthgen.attention.linear import linear
from lengthgen.bench.workload import Place, Shape
from lengthgen.model import flops
from lengthgen.model.flops import CAUSAL

CEILING_SIZE = {"cpu": 2048, "cuda": 8192}  # square matrices, well past the caches


def forward(shape: Shape, length: int, scored: int, attention: float = CAUSAL) -> float:
    """FLOPs of a window of `length` tokens, the output head on `scored` of them.

    attention: the share of (query, key) pairs that is counted.
    """
    return flops.forward(shape.model, shape.vocab, length, scored, attention)


def train_step(shape: Shape) -> float:
    """FLOPs of one optimiser step: forward, and twice that backward."""
    return flops.FORWARDS * shape.batch * forward(shape, shape.length, shape.length)


def ceiling(where: Place, size: int | None = None) -> tuple[Callable[[], object], float]:
    """A call that multiplies two square matrices in the precision of the models, and its FLOPs."""
    size = size or CEILING_SIZE[where.device.type]
    a, b = torch.randn(2, size, size, device=where.device, dtype=where.dtype)
    return lambda: linear(a, b, where.linear), 2.0 * size**3
