"""Bytes of decoding, by formula: of a cache, of a prefill's activations, of weights.

A token costs each layer its key and its value, element (K D + K Dv) bytes for each sequence, while
a window or the sinks hold it. Besides: 8 H bytes of running sums in a layer with gates; element E
where the scheme reads the text of earlier tokens; a second form of near keys or of sinks where far
keys count at another distance; and 8 bytes a token, once, where it reads the tokens.

Shape letters: H heads, K heads of keys and values, D and Dv sizes of a key and of a value, E width.
"""

import torch

from lengthgen.decoding.layers.two_distances import both_slots
from lengthgen.decoding.slots import Slots
from lengthgen.model import ModelConfig
from lengthgen.schemes.base import Scheme

TOKEN = 8  # bytes of a token's number
SUM = 8  # of a running sum, float64


def cache_bytes(
    scheme: Scheme, batch: int, length: int, kv_heads: int | None = None, element: int = 4
) -> int:
    """Bytes that `Cache` keeps of `batch` texts of `length` tokens, when made for so many.

    kv_heads: K; None: as many as heads. element: bytes of a number of keys, values and x.
    """
    layers = range(scheme.dimensions.n_layers)
    heads = kv_heads or scheme.dimensions.n_heads
    text = sum(_layer_bytes(scheme, layer, length, heads, element) for layer in layers)
    return batch * (text + (TOKEN * length if scheme.reads_tokens else 0))


@torch.no_grad()
def _layer_bytes(scheme: Scheme, layer: int, length: int, kv_heads: int, element: int) -> int:
    size = scheme.dimensions
    device = next(scheme.parameters(), torch.empty(0)).device
    positions = scheme.read(torch.zeros(1, 1, dtype=torch.int64, device=device))
    q = torch.zeros(1, size.n_heads, 1, size.head_dim, device=device)
    q, k = scheme.rotate(q, q, positions, layer)
    key, value = element * kv_heads * k.shape[-1], element * kv_heads * size.head_dim
    text = element * size.width * length if scheme.reads_text else 0
    slots = Slots.of(scheme.span(layer))
    if not scheme.general(layer):
        x = torch.zeros(1, 1, size.width, device=device)
        gates, _ = scheme.gates_from(x, layer, 0)
        sums = 0 if gates is None else SUM * size.n_heads
        return text + (key + value + sums) * slots.count(length)
    pairs = scheme.two_distances(q, k, positions, layer, 0)
    if pairs is None:
        return text + (key + value) * length
    _, besides, _ = both_slots(scheme, layer, pairs)
    return text + (key + value) * slots.count(length) + key * besides.count(length)


def prefill_bytes(config: ModelConfig, batch: int, length: int, element: int = 4) -> int:
    """Bytes of a prefill's activations at their peak, without what attention kernels hold.

    A token holds the residual stream and its normalised copy, and the larger of attention's
    queries, keys and values, before and after the scheme turned them, with the mixture (7 E), and
    the MLP's hidden layer before and after its activation.
    """
    E = config.width
    hidden = config.hidden * (3 if config.activation == "swiglu" else 2)
    return element * batch * length * (2 * E + max(7 * E, hidden))


def weight_bytes(model: torch.nn.Module) -> int:
    """Bytes of all parameters; a tied head counts once."""
    return sum(parameter.nbytes for parameter in model.parameters())
