"""linear.py and kernels/onednn.py: every kernel and its gradients against float64; the choice."""

import io

import pytest
import torch

from lengthgen import model as models
from lengthgen import schemes
from lengthgen.attention import linear
from lengthgen.attention.kernels import onednn
from lengthgen.errors import ConfigError
from lengthgen.model import ModelConfig

KERNELS = (
    "torch",
    pytest.param(
        "onednn",
        marks=pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN product"),
    ),
)
SHAPES = [
    ((5,), 3, 7),
    ((2, 9), 16, 16),
    ((3, 33), 65, 17),
    ((1, 1), 8, 257),
    ((2, 2, 31), 12, 40),
]  # leading sizes, I, O


def factors(leading, n_inputs, n_outputs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((*leading, n_inputs), (n_outputs, n_inputs), (*leading, n_outputs))
    return [torch.randn(shape, generator=generator) for shape in shapes]


def gradients(multiply, x, weight, grad):
    """[product, gradient of x, gradient of the weight]"""
    x, weight = (
        a.detach().clone(memory_format=torch.preserve_format).requires_grad_() for a in (x, weight)
    )
    y = multiply(x, weight)
    return [y.detach(), *torch.autograd.grad(y, (x, weight), grad)]


def in_float64(x, weight, grad):
    return gradients(
        lambda x, weight: torch.einsum("...i,oi->...o", x, weight),
        *(a.double() for a in (x, weight, grad)),
    )


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and a.dtype == torch.float32
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_and_their_gradients_equal_float64(kernel, shape):
    given = factors(*shape)
    expected = in_float64(*given)
    assert_close(gradients(lambda x, weight: linear.linear(x, weight, kernel), *given), expected)
    with torch.no_grad():
        assert_close([linear.linear(*given[:2], kernel)], expected[:1])


@pytest.mark.parametrize("kernel", KERNELS)
def test_factors_may_lie_across_and_gradients_be_expanded(kernel):
    x, weight, _ = factors((6, 10), 10, 4)
    grad = torch.tensor(0.5).expand(10, 6, 4)  # as a sum's backward gives it
    given = (x.transpose(0, 1), weight.t().contiguous().t(), grad)
    assert_close(
        gradients(lambda x, weight: linear.linear(x, weight, kernel), *given), in_float64(*given)
    )


@pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN product")
def test_the_operator_never_gets_a_weight_with_gaps(monkeypatch):
    x, weight, _ = factors((6,), 10, 4)
    gaps, layouts = torch.cat([weight, weight], dim=1)[:, :10], []
    inner = onednn._operator
    monkeypatch.setattr(
        onednn,
        "_operator",
        lambda a, b: layouts.append(b.is_contiguous() or b.t().is_contiguous()) or inner(a, b),
    )
    assert not gaps.is_contiguous() and not gaps.t().is_contiguous()
    assert torch.equal(linear.linear(x, gaps, "onednn"), linear.linear(x, weight, "onednn"))
    assert layouts == [True, True]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("learns", ["x", "weight"])
def test_one_of_the_two_may_be_fixed(kernel, learns):
    x, weight, grad = factors((2, 5), 6, 7)
    wanted = {"x": x, "weight": weight}[learns].requires_grad_()
    found = torch.autograd.grad(linear.linear(x, weight, kernel), wanted, grad)
    assert_close(found, in_float64(x, weight, grad)[1 + (learns == "weight") :][:1])


@pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN product")
def test_a_second_derivative_is_an_error_and_not_wrong():
    x, weight, _ = factors((2, 5), 6, 7)
    first = torch.autograd.grad(
        linear.linear(x.requires_grad_(), weight, "onednn").square().sum(), x, create_graph=True
    )[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()


@pytest.mark.parametrize("faster", [True, False])
def test_the_faster_one_is_chosen_for_float32_on_cpu(monkeypatch, faster):
    monkeypatch.setattr(onednn, "faster", lambda: faster)
    monkeypatch.setattr(onednn, "available", lambda: True)
    x, weight, _ = factors((2, 5), 6, 7)
    assert linear.chosen(x, weight) == ("onednn" if faster else "torch")
    assert (
        linear.chosen(x, weight, "onednn") == "onednn"
        and linear.chosen(x, weight, "torch") == "torch"
    )
    assert linear.chosen(x.double(), weight.double()) == "torch"
    assert linear.chosen(x[0, 0], weight) == "torch" and linear.chosen(x[:0], weight) == "torch"
    assert linear.chosen(x.to("meta"), weight.to("meta")) == "torch"
    with torch.autocast("cpu", torch.bfloat16):
        assert linear.chosen(x, weight) == "torch"


@pytest.mark.parametrize(
    ("capability", "cpuinfo", "expected"),
    [
        ("AVX512", "processor : 0\nvendor_id\t: AuthenticAMD\n", True),
        ("AVX512", "processor : 0\nvendor_id\t: GenuineIntel\n", False),
        ("AVX2", "processor : 0\nvendor_id\t: AuthenticAMD\n", False),
    ],
)
def test_onednn_is_faster_where_mkl_leaves_avx512_unused(
    monkeypatch, capability, cpuinfo, expected
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr("builtins.open", lambda *_, **__: io.StringIO(cpuinfo))
    assert onednn.faster.__wrapped__() is expected


def test_without_proc_the_platform_names_the_processor(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", missing)
    monkeypatch.setattr("platform.processor", lambda: "Intel64 Family 6 Model 143, GenuineIntel")
    assert "GenuineIntel" in onednn.processor("vendor_id")


def test_what_cannot_be_is_refused_in_one_line(monkeypatch):
    x, weight, _ = factors((2, 5), 6, 7)
    with pytest.raises(
        ConfigError, match=r"linear=.mkl. is unknown: expected one of auto, torch, onednn"
    ):
        linear.linear(x, weight, "mkl")
    with pytest.raises(
        ConfigError, match=r"linear=onednn cannot be used here .*float64.* use 'auto'"
    ):
        linear.linear(x.double(), weight.double(), "onednn")
    monkeypatch.setattr(onednn, "available", lambda: False)
    assert linear.chosen(x, weight) == "torch"
    with pytest.raises(ConfigError, match="this torch lacks"):
        linear.linear(x, weight, "onednn")


@pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN product")
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_gives_the_same_losses_and_gradients_by_either(tied):
    cls = schemes.load("t5_bias")
    config = ModelConfig(n_layers=2, n_heads=2, width=16, tie_head=tied)
    model = models.build(config, cls, cls.Config(), train_length=16, vocab_size=11, seed=0)
    tokens = torch.randint(0, 11, (3, 17), generator=torch.Generator().manual_seed(0))
    found = {}
    for kernel in ("torch", "onednn"):
        model.use_linear(kernel)
        losses = model.losses(tokens[:, :-1], tokens[:, 1:])
        found[kernel] = [
            losses.detach(),
            *torch.autograd.grad(losses.mean(), list(model.parameters())),
        ]
    for a, b in zip(*found.values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
