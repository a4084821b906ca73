"""What an additive score bias can look like. A scheme returns one of these; attention.py picks a kernel from it.

A bias is added to the scaled scores: softmax(scale * q k^T + bias), and is never divided by sqrt(D) itself
(ALiBi, footnote 10; KERPLE and FIRE alike). `None` stands for "no bias".

Shape letters: T queries, S keys (T = S here: causal self-attention over one window), H heads.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Toeplitz:
    """bias[h, i, j] = vector[h, i - j]: one value per head and offset.

    vector: (H, T) float32, index = offset i - j >= 0. May require grad.
    """

    vector: Tensor


@dataclass(frozen=True)
class Rows:
    """A bias that depends on the query's position as well as on the offset (FIRE).

    block(first, last) -> (H, last - first, last): the rows of queries first..last-1 against keys 0..last-1.
    Entries above the diagonal are ignored (attention masks them). May require grad.
    """

    block: Callable[[int, int], Tensor]


Bias = Toeplitz | Rows
