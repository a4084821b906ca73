"""The summed cross entropy by chunks: equal to the definition, and never all logits at once."""

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from lengthgen.attention.kernels import cross_entropy

N, E, V = 50, 8, 70  # padded to 128 ids


def inputs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, E, dtype=dtype, generator=generator, requires_grad=True)
    weight = torch.randn(V, E, dtype=dtype, generator=generator, requires_grad=True)
    targets = torch.randint(V, (N,), generator=generator)
    targets[::7] = -100  # not scored
    return hidden, weight, targets


def written_out(hidden, weight, targets):
    return functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")


@pytest.mark.parametrize("held", [2**28, 128 * 50, 128 * 17, 128, 1])
def test_the_sum_and_its_gradients_are_those_of_the_definition(held, monkeypatch):
    monkeypatch.setattr(cross_entropy, "LOGITS_AT_ONCE", held)
    hidden, weight, targets = inputs()
    loss = cross_entropy.total(hidden, weight, targets)
    expected = written_out(hidden, weight, targets)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    # Times a factor, as a mean has.
    given = torch.autograd.grad(loss * 0.3, (hidden, weight))
    for one, other in zip(
        given, torch.autograd.grad(expected * 0.3, (hidden, weight)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)


def test_autocast_gives_bfloat16_products_and_a_float32_sum():
    hidden, weight, targets = inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy.total(hidden, weight, targets)
    given = torch.autograd.grad(loss, (hidden, weight))
    expected = written_out(hidden, weight, targets)
    assert loss.dtype == torch.float32
    assert abs(loss - expected) / expected < 1e-2
    for one, other in zip(given, torch.autograd.grad(expected, (hidden, weight)), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() / other.norm() < 2e-2


class Largest(TorchDispatchMode):
    """The most bytes of one tensor that an operation has made."""

    nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, torch.Tensor):
                self.nbytes = max(self.nbytes, x.untyped_storage().nbytes())
        return out


def largest(loss_of, *tensors):
    with Largest() as seen:
        loss_of(*tensors).backward()
    return seen.nbytes


def test_the_logits_of_all_tokens_never_exist(monkeypatch):
    n, held = 4096, 128 * 256
    monkeypatch.setattr(cross_entropy, "LOGITS_AT_ONCE", held)
    hidden, weight, _ = inputs(torch.float32)
    hidden = torch.randn(n, E, requires_grad=True)
    targets = torch.randint(V, (n,))
    # The mode sees what it looks for where it is there.
    assert largest(written_out, hidden, weight, targets) == 4 * n * V
    # A chunk's logits, or the gradient of the hidden states.
    assert largest(cross_entropy.total, hidden, weight, targets) == 4 * max(held, n * E)


def test_it_is_one_graph():
    hidden, weight, targets = inputs(torch.float32)
    whole = torch.compile(cross_entropy.total, fullgraph=True, backend="aot_eager")
    try:
        loss = whole(hidden, weight, targets)
        torch.testing.assert_close(loss, written_out(hidden, weight, targets))
        given = torch.autograd.grad(loss, (hidden, weight))
    finally:
        torch.compiler.reset()
    expected = torch.autograd.grad(written_out(hidden, weight, targets), (hidden, weight))
    torch.testing.assert_close(given, expected)
