"""Schemes to compare with something: made small, initialised, and read."""

import torch

from lengthgen import schemes
from lengthgen.schemes.base import Dimensions, Scheme


def make(
    name: str,
    n_heads: int = 2,
    head_dim: int = 16,
    train_length: int = 64,
    seed: int = 0,
    **options,
) -> Scheme:
    """An initialised two-layer scheme.

    Zero tables get noise, so that there is something to compare.
    """
    kind = schemes.load(name)
    scheme = kind(
        kind.Config(**options), Dimensions(2, n_heads, head_dim, n_heads * head_dim, train_length)
    )
    scheme.initialise(lambda label: torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in scheme.parameters():
            if not parameter.any():
                parameter.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(seed))
    return scheme


def bias_of(scheme: Scheme, offsets, layer: int = 0):
    return scheme.toeplitz(torch.as_tensor(offsets), layer).detach()
