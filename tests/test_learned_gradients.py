"""Gradients of the CPU kernel and of every learned bias's parameters, against differences."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Bias, Gates, Rows, Span, Toeplitz
from lengthgen.attention.kernels import cpu, offsets, recompute, rows
from lengthgen.attention.kernels import gates as gate_kernel
from lengthgen.schemes.base import Scheme

from .attention_cases import bias_of
from .scheme_cases import make

CHUNK = 8


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chunked(kind: str, parameter: Tensor, length: int, span: Span | None) -> cpu.ChunkedBias:
    if kind == "gates":
        return gate_kernel.GateRows(Gates(parameter), CHUNK, span, torch.float64)
    if kind == "weighted gates":
        return gate_kernel.GateRows(
            Gates(parameter, parameter.cos() + 0.5), CHUNK, span, torch.float64
        )
    bias = bias_of(kind, parameter)
    if isinstance(bias, Rows):
        blocks = rows.evaluated(bias.block, length, CHUNK)
        return (
            rows.LazyBlocks(bias.block, CHUNK, span)
            if blocks is None
            else rows.Blocks(blocks, CHUNK, span)
        )
    return offsets.Offsets(
        torch.zeros_like(parameter) if bias is None else bias.vector, CHUNK, span
    )


@pytest.mark.parametrize(
    "kind", ["none", "fixed", "learned", "rows", "frozen rows", "gates", "weighted gates"]
)
@pytest.mark.parametrize("span", [None, Span(1), Span(5), Span(5, 2), Span(3, 9)])
def test_the_cpu_kernel_has_the_gradient_of_finite_differences(
    kind: str, span: Span | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recompute, "CHUNK", 4)
    length = 11  # chunks of 8 and 3 forward, of 4, 4 and 3 backward
    leaves = [randn(seed, 2, 2, length, 1).requires_grad_() for seed in range(3)]
    parameter = randn(3, 2, 2, length).cumsum(-1) if "gates" in kind else randn(3, 2, length)
    learns = kind in ("learned", "rows", "gates", "weighted gates")

    def attend(q: Tensor, k: Tensor, v: Tensor, parameter: Tensor = parameter) -> Tensor:
        return cpu.attend(q, k, v, chunked(kind, parameter, length, span), 0.7)

    assert torch.autograd.gradcheck(
        attend, [*leaves, *([parameter.requires_grad_()] if learns else [])]
    )


def bias_of_scheme(scheme: Scheme, length: int, x: Tensor) -> Bias:
    """The bias of layer 0."""
    positions, structure = torch.arange(length), scheme.structure
    if structure == "gates":
        return Gates(scheme.gates(x.to(next(scheme.parameters()).dtype), 0).double().cumsum(-1))
    if structure == "toeplitz":
        return Toeplitz(scheme.toeplitz(positions, 0))
    return Rows(lambda first, last: scheme.rows(positions[first:last], positions[:last], 0))


def differences(
    value: Callable[[], Tensor], parameters: list[Tensor], step: float = 1e-5
) -> Tensor:
    """The gradient of `value` by central differences, one entry of the parameters at a time."""
    found = []
    with torch.no_grad():
        for parameter in parameters:
            for entry in parameter.view(-1).split(1):
                start, values = entry.clone(), []
                for sign in (1, -1):
                    entry.copy_(start + sign * step)
                    values.append(value())
                entry.copy_(start)
                found.append((values[0] - values[1]) / (2 * step))
    return torch.stack(found)


@pytest.mark.parametrize("length", [3, 67, 91])  # all but the first past the trained length
@pytest.mark.parametrize(
    "name", ["t5_bias", "per_offset", "kerple_log", "kerple_power", "fire", "fox"]
)
def test_every_learned_bias_has_the_gradient_of_finite_differences(name: str, length: int) -> None:
    scheme = make(name, **({"hidden": 4} if name == "fire" else {}))
    with torch.no_grad():
        for number, parameter in enumerate(
            scheme.parameters()
        ):  # off the corners of ReLU and of maxima
            parameter += 0.02 * randn(number, *parameter.shape).float()
    tensors, grad, x = (
        [randn(seed, 1, 2, length, 16) for seed in range(3)],
        randn(3, 1, 2, length, 16),
        randn(4, 1, length, 32),
    )

    def value(force: str, dtype: torch.dtype) -> Tensor:
        out = dispatch.attend(
            *(t.to(dtype) for t in tensors), bias_of_scheme(scheme, length, x), 0.25, force=force
        )
        return (out.double() * grad).sum()

    def gradient(force: str, dtype: torch.dtype) -> Tensor:
        parameters = list(scheme.to(dtype).parameters())
        parts = torch.autograd.grad(value(force, dtype), parameters, materialize_grads=True)
        return torch.cat([part.flatten().double() for part in parts])

    ours = gradient("cpu", torch.float32)
    exact = gradient("reference", torch.float64)
    expected = differences(lambda: value("reference", torch.float64), list(scheme.parameters()))
    size = 1e-3 + expected.norm()
    assert (exact - expected).norm() / size < 1e-6
    assert (ours - expected).norm() / size < 2e-5
    assert expected.norm() > 0.01
