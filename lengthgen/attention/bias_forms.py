"""What an additive score bias can look like, and which keys a query sees.

A bias is added to the scaled scores, softmax(scale * q k^T + bias), and never divided by sqrt(D)
itself (ALiBi, footnote 10; KERPLE and FIRE alike). `None` stands for "no bias" and, as a span, for
"every key up to the query's own". dispatch.py picks a kernel by the bias's class.

Every bias has block(first, last): the rows of queries first..last-1 against keys 0..last-1. Entries
above the diagonal are ignored, because attention masks them.

Shape letters: B batch, T queries = keys, H heads."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Toeplitz:
    """bias[h, i, j] = vector[h, i - j]: one value per head and offset.

    vector: (H, T) float32, index = offset i - j >= 0. May require grad.
    """

    vector: Tensor

    def block(self, first: int, last: int) -> Tensor:
        """(H, last - first, last); above the diagonal: the value at offset 0."""
        places = torch.arange(last, device=self.vector.device)
        return self.vector[:, (places[first:, None] - places).clamp(min=0)]


@dataclass(frozen=True)
class Rows:
    """A bias that depends on the query's position as well as on the offset (FIRE).

    block(first, last) -> (H, last - first, last). May require grad.
    """

    block: Callable[[int, int], Tensor]


@dataclass(frozen=True)
class Gates:
    """bias[b, h, i, j] = weights[b, h, i] (cumulative[b, h, i] - cumulative[b, h, j]).

    cumulative: (B, H, T) float32 or float64, running sums of one gate a token, which the text
    decides; usually falling (FoX, CABLE). Differences are taken in its dtype: in float64 they stay
    exact however far the sum has run. weights: (B, H, T), a factor for each query (CABLE's third
    version); None: 1. Both may require grad.
    """

    cumulative: Tensor
    weights: Tensor | None = None

    def block(self, first: int, last: int) -> Tensor:
        """(B, H, last - first, last), in the dtype of the sums."""
        between = self.cumulative[..., first:last, None] - self.cumulative[..., None, :last]
        return between if self.weights is None else self.weights[..., first:last, None] * between


@dataclass(frozen=True)
class Span:
    """Keys that a query sees: the last `window` tokens, its own included, and the first `sinks`.

    Their union, so that no key counts twice. ValueError unless window > 0 and sinks >= 0.
    """

    window: int | None = None  # None: all
    sinks: int = 0

    def __post_init__(self):
        if (self.window is not None and self.window < 1) or self.sinks < 0:
            raise ValueError(f"{self}: expected window > 0 (or None) and sinks >= 0")


Bias = Toeplitz | Rows | Gates
