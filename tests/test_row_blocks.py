"""Schemes with scores of their own in training: by blocks of rows, with nothing of T x T alive."""

import copy

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lengthgen.attention import dispatch
from lengthgen.attention.kernels import general, row_blocks
from lengthgen.schemes import from_the_right, pair_network
from lengthgen.schemes.base import Scheme

from .scheme_cases import make

LENGTH, ROWS = 60, 7
# name, options of each scheme and form whose scores are its own and whose rows are independent
CASES = [
    ("cope", {"max_position": 5}),
    ("dape", {}),
    ("dape", {"kernel": 3, "inner": "fire"}),
    ("stick_breaking", {}),
    ("stick_breaking", {"attend_current": True, "remainder": "drop"}),
    ("path", {"forget_gate": True}),
    ("grape", {}),
    ("grape", {"form": "both"}),
    ("shaw", {}),
    ("transformer_xl", {}),
]
IDS = [f"{name}-{'-'.join(map(str, options.values()))}" for name, options in CASES]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(name: str, options: dict) -> Scheme:
    scheme = make(name, **options)
    with torch.no_grad():
        for seed, parameter in enumerate(scheme.parameters()):
            parameter += 0.3 * draw(seed, *parameter.shape)
    return scheme


def trained(scheme: Scheme, dtype: torch.dtype, length: int = LENGTH) -> list[Tensor]:
    """The output and the gradients of q, k, v, x and of every parameter."""
    scheme = copy.deepcopy(scheme).to(dtype)
    sizes = scheme.dimensions
    heads = (2, sizes.n_heads, length, sizes.head_dim)
    q, k, v = (draw(seed, *heads).to(dtype).requires_grad_() for seed in range(3))
    x = draw(3, 2, length, sizes.width).to(dtype).requires_grad_()
    positions = scheme.positions(length, q.device)
    learned = [x, positions, *scheme.parameters()]
    out = dispatch.attend_general(
        q, k, v,
        lambda q, k, first: scheme.logits(q, k, x, positions, 1, first),
        lambda z, v, first: scheme.mix(z, v, 1, first),
        scheme.span(1), scheme.by_rows, learned,
    )  # fmt: skip
    wanted = [q, k, v, *(t for t in learned if t.requires_grad)]
    gradients = torch.autograd.grad(
        out, wanted, draw(4, *out.shape).to(dtype), materialize_grads=True
    )
    return [out.detach(), *gradients]


def in_rows(monkeypatch: pytest.MonkeyPatch, rows: int, length: int = LENGTH) -> None:
    n_heads = make("none").dimensions.n_heads
    monkeypatch.setattr(general, "TRAINED_AT_ONCE", {"cpu": rows * 2 * n_heads * length})


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_blocks_of_rows_have_the_output_and_the_gradients_of_the_whole(
    name: str, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme = made(name, options)
    in_rows(monkeypatch, LENGTH)
    whole = trained(scheme, torch.float64)
    in_rows(monkeypatch, ROWS)
    monkeypatch.setattr(from_the_right, "TILE", 11)
    monkeypatch.setattr(pair_network, "PAIRS", 100)
    for ours, expected in zip(trained(scheme, torch.float64), whole, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-10)
    assert any(part.abs().max() > 0.01 for part in whole[5:]) or not whole[5:]
    for ours, expected in zip(trained(scheme, torch.float32), whole, strict=True):
        size = 0.1 + expected.norm()
        assert (ours.double() - expected).norm() / size < 5e-5


class Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        parts = result if isinstance(result, (tuple, list)) else [result]
        sizes = [part.numel() for part in parts if isinstance(part, Tensor)]
        self.elements = max([self.elements, *sizes])
        return result


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_no_tensor_of_training_is_as_large_as_all_pairs(
    name: str, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = 192
    scheme = made(name, options)
    pairs = 2 * scheme.dimensions.n_heads * length**2
    monkeypatch.setattr(pair_network, "PAIRS", 256)
    in_rows(monkeypatch, 4, length)
    with Largest() as largest:
        trained(scheme, torch.float32, length)
    assert 0 < largest.elements < pairs / 2


@pytest.mark.parametrize("known", ["nothing", "the slope", "all", "all but a leaf"])
def test_gradients_reach_what_no_list_names(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme may use a tensor that an earlier hook made: then the window is computed whole."""
    length = 50
    monkeypatch.setattr(general, "TRAINED_AT_ONCE", {"cpu": ROWS * length})
    q, k, v = (draw(seed, 1, 1, length, 4).requires_grad_() for seed in range(3))
    slope, leaf = (torch.tensor(x, requires_grad=True) for x in (0.1, 0.7))
    stored, distance, called = slope.exp(), torch.arange(length), []

    def logits(q: Tensor, k: Tensor, first: int) -> Tensor:
        called.append(q.shape[2])
        rows = distance[first : first + q.shape[2], None]
        return leaf * q @ k.mT - stored * (rows - distance[: k.shape[2]])

    def mix(z: Tensor, v: Tensor, first: int) -> Tensor:
        return z.softmax(-1) @ v

    lists = {
        "nothing": None,
        "the slope": [slope, leaf],
        "all": [stored, leaf],
        "all but a leaf": [stored],
    }
    out = general.attend(q, k, v, logits, mix, learned=lists[known])
    wanted = [q, k, v, slope, leaf]
    ours = torch.autograd.grad(out.square().sum(), wanted, retain_graph=True)
    assert (max(called) == length) == (known != "all")
    hidden = logits(q, k, 0).masked_fill(~torch.ones(length, length).tril().bool(), float("-inf"))
    out = mix(hidden, v, 0)
    expected = torch.autograd.grad(out.square().sum(), wanted)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_future_hidden_hides_the_future_forward_and_backward() -> None:
    z = draw(0, 2, 3, 4, 9).double().requires_grad_()
    hidden = row_blocks.future_hidden(z, 5)
    keep = torch.ones(4, 9, dtype=torch.bool).tril(5)
    assert torch.equal(hidden.isneginf(), (~keep).expand_as(z))
    assert torch.autograd.gradcheck(lambda z: row_blocks.future_hidden(z, 5).softmax(-1), [z])
