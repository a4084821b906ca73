"""Every attention kernel against the float64 definition, forward and backward, at odd lengths."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Barrier, current_thread, main_thread

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Rows, Toeplitz
from lengthgen.attention.kernels import cpu, offsets, onednn, reference, rows, threads
from lengthgen.errors import ConfigError

from .attention_cases import KINDS, bias_of
from .scheme_cases import make

LENGTHS = (1, 2, 3, 63, 64, 65, 100, 127, 128, 129, 257, 513)
# Head size, batch, heads, scale, threads have different periods: together the lengths cover them.
CASES = [
    (
        length,
        (32, 64, 16, 80, 33)[i % 5],
        (2, 1, 5)[i % 3],
        (3, 4, 1, 2)[i % 4],
        (i + i // 3) % 2 == 0,
        1 + (i + i // 2) % 2,
    )
    for i, length in enumerate(LENGTHS)
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def inputs(
    batch: int, n_heads: int, length: int, size: int, seed: int = 0
) -> tuple[list[Tensor], Tensor, Tensor]:
    """[q, k, v], the gradient of the output, and a bias vector (H, T)."""
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(batch, n_heads, length, size, generator=generator) for _ in range(4)]
    return tensors[:3], tensors[3], torch.randn(n_heads, length, generator=generator)


def run(
    kind: str,
    force: str,
    dtype: torch.dtype,
    tensors: list[Tensor],
    grad: Tensor,
    parameter: Tensor,
    scale: float,
    layers: int = 1,
):
    """The output and the gradients of q, k, v and, if it learns, of the bias's parameter."""
    leaves = [x.detach().to(dtype).requires_grad_() for x in tensors]
    parameter = parameter.detach().to(dtype).requires_grad_(kind in ("learned", "rows"))
    bias = bias_of(kind, parameter)
    out = leaves[0]
    for _ in range(layers):
        out = dispatch.attend(out, leaves[1], leaves[2], bias, scale, force=force)
    wanted = leaves + ([parameter] if parameter.requires_grad else [])
    return [out.detach(), *torch.autograd.grad(out, wanted, grad.to(dtype))]


def assert_close(given: list[Tensor], expected: list[Tensor], tolerance: float = 5e-6) -> None:
    for name, a, b in zip(("out", "dq", "dk", "dv", "dbias"), given, expected, strict=False):
        assert a.shape == b.shape, name
        assert torch.isfinite(a).all(), name
        error = (a.double() - b).abs().max().item() / (1 + b.abs().max().item())
        assert error < tolerance, f"{name}: {error:.2e}"
    assert len(given) == len(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"T{case[0]}")
def test_kernels_equal_the_definition(kind: str, case: tuple) -> None:
    length, size, batch, n_heads, unscaled, n_threads = case
    scale = 1.0 if unscaled else size**-0.5
    tensors, grad, parameter = inputs(batch, n_heads, length, size, seed=length)
    expected = run(kind, "reference", torch.float64, tensors, grad, parameter, scale)
    assert_close(run(kind, "sdpa", torch.float32, tensors, grad, parameter, scale), expected)
    torch.set_num_threads(n_threads)
    assert_close(run(kind, "cpu", torch.float32, tensors, grad, parameter, scale), expected)
    with torch.no_grad():
        out = dispatch.attend(
            *tensors, bias_of(kind, parameter.requires_grad_()), scale, force="cpu"
        )
    assert_close([out], expected[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_longer_chunks(kind: str) -> None:
    tensors, grad, parameter = inputs(1, 2, 1030, 16)
    expected = run(kind, "reference", torch.float64, tensors, grad, parameter, 0.25)
    assert_close(run(kind, "cpu", torch.float32, tensors, grad, parameter, 0.25), expected)


def test_longest_chunks_and_very_negative_biases() -> None:
    length = 4097
    tensors, grad, _ = inputs(1, 1, length, 16)
    alibi = -0.5 * torch.arange(length)[None]  # -2048 at the farthest key
    with torch.no_grad():
        expected = reference.attend(*(x.double() for x in tensors), offsets.dense(alibi), 0.25)
        assert_close([dispatch.attend(*tensors, Toeplitz(alibi), 0.25, force="cpu")], [expected])
    for kind in ("fixed", "learned"):
        assert all(
            torch.isfinite(x).all()
            for x in run(kind, "cpu", torch.float32, tensors, grad, alibi, 0.25)
        )


@pytest.mark.parametrize("kind", ["fixed", "learned"])
@pytest.mark.parametrize("offset", [-300.0, 300.0])
def test_steep_and_shifted_biases(kind: str, offset: float) -> None:
    tensors, grad, _ = inputs(2, 2, 300, 16)
    steep = offset - 16.0 * torch.arange(300).expand(2, 300)
    expected = run(kind, "reference", torch.float64, tensors, grad, steep, 0.25)
    assert_close(
        run(kind, "cpu", torch.float32, tensors, grad, steep, 0.25), expected, tolerance=5e-5
    )


@pytest.mark.parametrize("kind", ["fixed", "learned"])
def test_a_window_is_a_bias_of_minus_infinity(kind: str) -> None:
    tensors, grad, window = inputs(2, 2, 700, 16)
    window[:, 40:] = -math.inf
    expected = run(kind, "reference", torch.float64, tensors, grad, window, 0.25)
    assert_close(run(kind, "cpu", torch.float32, tensors, grad, window, 0.25), expected)


@pytest.mark.parametrize("kind", ["learned", "rows"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_bias_shared_by_layers_collects_the_gradient_of_each(kind: str, n_threads: int) -> None:
    tensors, grad, parameter = inputs(3, 2, 130, 16)
    expected = run(kind, "reference", torch.float64, tensors, grad, parameter, 0.25, layers=3)
    torch.set_num_threads(n_threads)
    assert_close(
        run(kind, "cpu", torch.float32, tensors, grad, parameter, 0.25, layers=3), expected
    )


def test_rows_are_evaluated_once_for_all_layers_and_again_in_the_next_step() -> None:
    tensors, grad, parameter = inputs(1, 2, 130, 16)
    parameter.requires_grad_()
    whole, calls = bias_of("rows", parameter), []
    counted = Rows(lambda first, last: calls.append((first, last)) or whole.block(first, last))
    for step in (1, 2):
        out = dispatch.attend(*tensors, counted, 0.25)
        dispatch.attend(out, *tensors[1:], counted, 0.25).backward(grad)
        assert calls == [(0, 64), (64, 128), (128, 130)] * step
        with torch.no_grad():
            parameter += 1.0
    assert "_blocks" not in vars(counted)


def test_the_definition_has_the_gradient_of_finite_differences() -> None:
    (q, k, v), _, vector = inputs(1, 2, 5, 3)
    arguments = [x.double().requires_grad_() for x in (q, k, v, vector)]

    def definition(q: Tensor, k: Tensor, v: Tensor, vector: Tensor) -> Tensor:
        return dispatch.attend(q, k, v, Toeplitz(vector), 0.7, force="reference")

    assert torch.autograd.gradcheck(definition, arguments)
    assert torch.autograd.gradgradcheck(definition, arguments)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_dense_offsets(length: int) -> None:
    vector = torch.arange(1.0, 2 * length + 1).view(2, length)
    dense = offsets.dense(vector)
    for i in range(length):
        for j in range(length):
            assert dense[:, i, j].tolist() == (
                vector[:, i - j].tolist() if j <= i else [-math.inf] * 2
            )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_same_call_gives_the_same_bits(kind: str, n_threads: int) -> None:
    torch.set_num_threads(n_threads)
    tensors, grad, parameter = inputs(4, 4, 200, 16)
    first, second = (
        run(kind, "cpu", torch.float32, tensors, grad, parameter, 0.25) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize("kind", KINDS)
def test_the_future_has_no_influence(kind: str) -> None:
    tensors, _, parameter = inputs(2, 2, 150, 16)
    changed = [x.clone() for x in tensors]
    for x in changed:
        x[:, :, 70:] = 1e4
    a, b = (
        dispatch.attend(*x, bias_of(kind, parameter), 0.25)[:, :, :70] for x in (tensors, changed)
    )
    assert torch.equal(a, b)


class Largest(TorchDispatchMode):
    """Records the most elements of any tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(
        self, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ):
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else [result]:
            if isinstance(x, Tensor):
                self.elements = max(self.elements, x.untyped_storage().nbytes() // x.element_size())
        return result


@pytest.mark.parametrize("kind", ["none", "fixed", "learned", "frozen rows"])
def test_training_makes_nothing_of_length_by_length(kind: str) -> None:
    length, n_heads = 2048, 2
    tensors, grad, parameter = inputs(2, n_heads, length, 16)
    with Largest() as largest:
        run(kind, "cpu", torch.float32, tensors, grad, parameter, 0.25)
    assert largest.elements < n_heads * length * length / 4


def test_rows_make_nothing_of_length_by_length_by_batch() -> None:
    length, batch, n_heads = 1024, 8, 4
    tensors, grad, parameter = inputs(batch, n_heads, length, 16)
    with Largest() as largest:
        run("rows", "cpu", torch.float32, tensors, grad, parameter, 0.25)
    assert largest.elements < n_heads * length * length / 2
    with torch.no_grad(), Largest() as largest:
        dispatch.attend(*tensors, bias_of("rows", parameter), 0.25)
    assert largest.elements < n_heads * length * length / 2


def test_evaluation_of_a_long_window_costs_memory_linear_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onednn, "faster", lambda: False)  # with tiles: test_tiles.py
    tensors, _, _ = inputs(1, 2, 5000, 8)
    with torch.no_grad(), Largest() as largest:
        dispatch.attend(*tensors, Toeplitz(-torch.arange(5000.0).expand(2, -1)), 0.25)
    assert largest.elements <= 2 * 5000 * 8  # as large as q


def test_rows_are_evaluated_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from lengthgen.schemes import fire

    monkeypatch.setattr(rows, "AT_ONCE", 2**15)
    monkeypatch.setattr(fire, "HIDDEN_AT_ONCE", {"cpu": 2**15})
    length, scheme = 700, make("fire")
    tensors, _, _ = inputs(1, 2, length, 16)
    place = torch.arange(length)
    bias = Rows(lambda first, last: scheme.rows(place[first:last], place[:last], 0))
    expected = dispatch.attend(
        *tensors, bias, 0.25, force="reference"
    ).detach()  # with gradients: whole
    with torch.no_grad(), Largest() as largest:
        out = dispatch.attend(*tensors, bias, 0.25)
    assert_close([out], [expected.double()])
    assert largest.elements <= 2**15


@pytest.mark.parametrize("kind", ["none", "learned"])
def test_views_and_expanded_gradients(kind: str) -> None:
    _, _, parameter = inputs(1, 2, 90, 16)
    packed = torch.randn(2, 90, 3, 2, 16, requires_grad=True)
    columns = torch.randn(
        2, 2, 16, 90, requires_grad=True
    )  # its transpose has no contiguous last axis
    results = []
    for force, dtype in (("cpu", torch.float32), ("reference", torch.float64)):
        q, k, _ = (x.transpose(1, 2) for x in packed.to(dtype).unbind(2))
        out = dispatch.attend(
            q,
            k,
            columns.to(dtype).transpose(2, 3),
            bias_of(kind, parameter.to(dtype)),
            0.25,
            force=force,
        )
        results.append([out.detach(), *torch.autograd.grad(out.sum(), (packed, columns))])
    assert_close(results[0], [x.double() for x in results[1]])


def test_only_the_bias_learns() -> None:
    tensors, grad, vector = inputs(2, 2, 90, 16)
    expected = run("learned", "reference", torch.float64, tensors, grad, vector, 0.25)
    vector.requires_grad_()
    out = dispatch.attend(*tensors, Toeplitz(vector), 0.25)
    assert_close([torch.autograd.grad(out, vector, grad)[0]], expected[-1:])


def test_a_vector_longer_than_the_window_is_cut_and_a_shorter_one_refused() -> None:
    tensors, _, vector = inputs(1, 2, 90, 16)
    longer = torch.cat([vector, vector], dim=1)
    assert torch.equal(
        dispatch.attend(*tensors, Toeplitz(longer), 0.25),
        dispatch.attend(*tensors, Toeplitz(vector), 0.25),
    )
    for wrong in (vector[:, :89], vector[:1]):
        with pytest.raises(ValueError, match=r"expected \(2, at least 90\)"):
            dispatch.attend(*tensors, Toeplitz(wrong), 0.25)


def test_second_derivatives_are_refused_by_cpu_and_given_by_the_definition() -> None:
    tensors, _, vector = inputs(1, 1, 9, 4)
    q = tensors[0].requires_grad_()
    for force, refused in (("cpu", True), ("reference", False)):
        out = dispatch.attend(q, *tensors[1:], Toeplitz(vector), 0.5, force=force)
        first = torch.autograd.grad(out.square().sum(), q, create_graph=True)[0].square().sum()
        if refused:
            with pytest.raises(RuntimeError, match="once_differentiable"):
                first.backward()
        else:
            assert torch.isfinite(torch.autograd.grad(first, q)[0]).all()


def test_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    q, bias = torch.zeros(1, 2, 8, 4), Toeplitz(torch.zeros(2, 8))
    assert dispatch.chosen(q, bias) == dispatch.chosen(q, None) == "cpu"
    assert dispatch.chosen(torch.zeros(1, 2, dispatch.LONGEST_UNBIASED + 1, 4), None) == "sdpa"
    assert dispatch.chosen(q, bias, force="reference") == "reference"
    for other in (q.double(), q.bfloat16(), q.to("meta")):
        assert dispatch.chosen(other, bias) == "sdpa"
    assert dispatch.chosen(q, bias, dropout=0.1) == "sdpa"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert dispatch.chosen(q, bias) == "sdpa"
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert dispatch.chosen(q, bias) == "sdpa"
    monkeypatch.setattr(cpu, "available", lambda: False)
    assert dispatch.chosen(q, bias) == "sdpa"


def test_a_choice_that_cannot_be_is_one_clear_line() -> None:
    q = torch.zeros(1, 2, 8, 4)
    with pytest.raises(
        ConfigError, match="'flash' is unknown: expected one of auto, cpu, sdpa, flex, reference"
    ):
        dispatch.attend(q, q, q, None, 1.0, force="flash")
    with pytest.raises(
        ConfigError,
        match=r"'cpu' cannot be used here \(dtype torch.float64, it needs float32\): use 'auto'",
    ):
        dispatch.attend(q.double(), q.double(), q.double(), None, 1.0, force="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_other_dtypes_and_dropout_take_the_dense_path(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, grad, parameter = inputs(2, 2, 65, 16)
    expected = run(kind, "reference", torch.float64, tensors, grad, parameter, 0.25)
    assert_close(
        run(kind, "auto", torch.float64, tensors, grad, parameter, 0.25), expected, tolerance=1e-12
    )

    masks, sdpa = [], torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, attn_mask=None, **more: (
            masks.append(attn_mask) or sdpa(*args, attn_mask=attn_mask, **more)
        ),
    )
    halves = [x.bfloat16() for x in tensors]
    out = dispatch.attend(*halves, bias_of(kind, parameter), 0.25)  # the bias stays float32
    assert out.dtype == torch.bfloat16
    assert_close([out], expected[:1], tolerance=3e-2)
    assert masks[-1] is None or masks[-1].dtype == torch.bfloat16

    torch.manual_seed(0)
    dropped = dispatch.attend(*tensors, bias_of(kind, parameter), 0.25, dropout=0.5)
    assert torch.isfinite(dropped).all()
    assert not torch.equal(dropped, dispatch.attend(*tensors, bias_of(kind, parameter), 0.25))


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize(("batch", "n_heads"), [(1, 1), (5, 1), (1, 7), (2, 8)])
def test_parts_cover_everything_once(n_threads: int, batch: int, n_heads: int) -> None:
    torch.set_num_threads(n_threads)
    for parts in (threads.pieces(batch, n_heads), threads.head_groups(batch, n_heads)):
        seen = torch.zeros(batch, n_heads)
        threads.each(lambda sequences, heads, seen=seen: seen[sequences, heads].add_(1), parts)
        assert (seen == 1).all()
    assert torch.get_num_threads() == n_threads


def test_a_helper_that_never_begins_costs_nothing_but_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Never:
        submit = staticmethod(lambda work: Future())

    monkeypatch.setattr(threads, "_helpers", lambda n: Never)
    torch.set_num_threads(2)
    seen = torch.zeros(2, 8)
    threads.each(lambda sequences, heads: seen[sequences, heads].add_(1), threads.head_groups(2, 8))
    assert (seen == 1).all() and torch.get_num_threads() == 2


def test_threads_share_the_parts_and_a_helpers_error_is_raised() -> None:
    torch.set_num_threads(2)
    both, workers = Barrier(2, timeout=60), set()

    def work(sequences: slice, heads: slice) -> None:
        workers.add(current_thread())
        assert torch.get_num_threads() == 1 and not torch.is_grad_enabled()
        both.wait()
        if current_thread() is not main_thread():
            raise ValueError("a helper's")

    with pytest.raises(ValueError, match="a helper's"):
        threads.each(work, threads.pieces(2, 2))
    assert len(workers) == 2 and torch.get_num_threads() == 2


def test_an_error_in_a_thread_is_raised_and_the_thread_count_restored() -> None:
    torch.set_num_threads(2)
    (q, k, v), _, vector = inputs(1, 2, 9, 4)
    with pytest.raises(RuntimeError):
        cpu.attend(q, k[..., :3], v, offsets.Offsets(vector, 16), 1.0)
    assert torch.get_num_threads() == 2
