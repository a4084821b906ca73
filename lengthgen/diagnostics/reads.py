"""Which entries of a scheme's parameters a position or an offset reads: those in which its code or its bias has a derivative.

The derivative is asked of the scheme's own hooks, one place at a time, so that it is right for every table, bucket and tail policy, and for
retrofits, without a word about any of them.

Shape letters: W windows, L training length, P places (positions or offsets), E width, H heads.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from lengthgen.attention.kernels import windows_and_sinks
from lengthgen.schemes.base import Scheme

SEED = 0  # of the draws that training would make


def learned(scheme: Scheme) -> dict[str, Tensor]:
    """The parameters that training changes, by name."""
    return {
        name: parameter for name, parameter in scheme.named_parameters() if parameter.requires_grad
    }


def as_in_training(scheme: Scheme, tokens: Tensor) -> list[Tensor]:
    """What `read` gives for windows of tokens (W, L) while it trains: one for each window, or one in all where nothing differs."""
    was_training = scheme.training
    scheme.train()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            found = [scheme.read(window[None]) for window in tokens]
    finally:
        scheme.train(was_training)
    return found[:1] if all(torch.equal(found[0], other) for other in found[1:]) else found


def extent(reads: list[Tensor]) -> float:
    """The greatest distance between two positions of one window."""
    return max(float(positions.double().max() - positions.double().min()) for positions in reads)


def of_positions(
    scheme: Scheme, parameters: list[Tensor], positions: Tensor, length: int
) -> Iterator[tuple[int, list[Tensor | None]]]:
    """(position t, what its code reads of each parameter: bool of the parameter's shape, or None) for t = 0..length-1."""
    code = scheme.embed(
        torch.zeros(1, length, scheme.dimensions.width, device=parameters[0].device), positions
    )[0]
    yield from _reading(code @ _random(code.shape[-1]).to(code), parameters)


def of_offsets(
    scheme: Scheme, parameters: list[Tensor], length: int
) -> Iterator[tuple[int, list[Tensor | None]]]:
    """(offset D, what the bias reads of each parameter, all layers together) for D = 0..length-1. For schemes with `toeplitz`."""
    offsets = torch.arange(length, device=parameters[0].device)
    layers = range(1 if scheme.shares_bias_over_layers else scheme.dimensions.n_layers)
    biases = torch.cat([scheme.toeplitz(offsets, layer) for layer in layers])
    yield from _reading(_random(len(biases)).to(biases) @ biases, parameters)


def _reading(values: Tensor, parameters: list[Tensor]) -> Iterator[tuple[int, list[Tensor | None]]]:
    """values (P,), one for each place."""
    if not values.requires_grad:
        return
    for place in range(len(values)):
        gradients = torch.autograd.grad(
            values[place], parameters, retain_graph=True, allow_unused=True
        )
        yield place, [None if g is None or not g.any() else g != 0 for g in gradients]


def _random(size: int) -> Tensor:
    """(size,) numbers so unlike that sums over them do not cancel."""
    return torch.randn(size, generator=torch.Generator().manual_seed(SEED))


def pairs_by_offset(scheme: Scheme, length: int) -> Tensor:
    """(length,) float64: query-key pairs of each offset in one causal window, under the scheme's spans; mean over layers."""
    total = torch.zeros(length, dtype=torch.float64)
    full = length - torch.arange(length, dtype=torch.float64)
    spans = [
        windows_and_sinks.narrowed(scheme.span(layer), length)
        for layer in range(scheme.dimensions.n_layers)
    ]
    for span in spans:
        if span is None:
            total += full
            continue
        i, j = windows_and_sinks.seen(0, length, span, torch.device("cpu")).nonzero(as_tuple=True)
        total += torch.bincount(i - j, minlength=length)
    return total / len(spans)
