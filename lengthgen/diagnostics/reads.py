"""Which entries of a scheme's parameters a position or an offset reads, by derivatives.

An entry is read where the code or the bias has a derivative, taken through the scheme's hooks one
place at a time: right for every table, bucket, tail policy and retrofit.

Shape letters: W windows, L training length, P places (positions or offsets), E width, H heads.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from lengthgen.attention.kernels.windows_and_sinks import narrowed, visible
from lengthgen.schemes.base import Scheme

SEED = 0  # of the draws that training would make

# A place, and for each parameter the entries that it reads: bool of its shape, or None.
PlaceReads = tuple[int, list[Tensor | None]]


def learned(scheme: Scheme) -> dict[str, Tensor]:
    """The parameters that training changes, by name."""
    return {name: p for name, p in scheme.named_parameters() if p.requires_grad}


def as_in_training(scheme: Scheme, tokens: Tensor) -> list[Tensor]:
    """What `read` gives in training for windows (W, L): one for each, or one if all agree."""
    was_training = scheme.training
    scheme.train()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            positions = [scheme.read(window[None]) for window in tokens]
    finally:
        scheme.train(was_training)
    same = all(torch.equal(positions[0], other) for other in positions[1:])
    return positions[:1] if same else positions


def extent(positions: list[Tensor]) -> float:
    """The greatest distance between two positions of one window."""
    return max(float(p.double().max() - p.double().min()) for p in positions)


def of_positions(
    scheme: Scheme, parameters: list[Tensor], positions: Tensor, length: int
) -> Iterator[PlaceReads]:
    """What the code of each position t = 0..length-1 reads."""
    x = torch.zeros(1, length, scheme.dimensions.width, device=parameters[0].device)
    code = scheme.embed(x, positions)[0]
    yield from _entries_read(code @ _random(code.shape[-1]).to(code), parameters)


def of_offsets(scheme: Scheme, parameters: list[Tensor], length: int) -> Iterator[PlaceReads]:
    """What the bias of each offset D = 0..length-1 reads, all layers together. Needs `toeplitz`."""
    offsets = torch.arange(length, device=parameters[0].device)
    layers = range(1 if scheme.shares_bias_over_layers else scheme.dimensions.n_layers)
    biases = torch.cat([scheme.toeplitz(offsets, layer) for layer in layers])
    yield from _entries_read(_random(len(biases)).to(biases) @ biases, parameters)


def _entries_read(values: Tensor, parameters: list[Tensor]) -> Iterator[PlaceReads]:
    """values (P,), one for each place."""
    if not values.requires_grad:
        return
    for place in range(len(values)):
        value = values[place]
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        yield place, [None if g is None or not g.any() else g != 0 for g in gradients]


def _random(size: int) -> Tensor:
    """(size,) weights of a sum over channels or heads, unlike so that no derivatives cancel."""
    return torch.randn(size, generator=torch.Generator().manual_seed(SEED))


def pairs_by_offset(scheme: Scheme, length: int) -> Tensor:
    """(length,) float64: query-key pairs of each offset in a window, mean over layers."""
    n_layers = scheme.dimensions.n_layers
    total = torch.zeros(length, dtype=torch.float64)
    for layer in range(n_layers):
        span = narrowed(scheme.span(layer), length)
        if span is None:
            total += torch.arange(length, 0, -1)
        else:
            i, j = visible(0, length, span, torch.device("cpu")).nonzero(as_tuple=True)
            total += torch.bincount(i - j, minlength=length)
    return total / n_layers
