"""kernels/tiles.py against the float64 definition, when it serves, and what it holds at a time."""

import math
from collections.abc import Iterator

import pytest
import torch

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Span, Toeplitz
from lengthgen.attention.kernels import cpu, offsets, onednn, rows, threads, tiles

from .attention_cases import assert_close, inputs
from .test_attention import Largest
from .test_spans import sees

pytestmark = pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN product")


@pytest.fixture(autouse=True)
def small_tiles_that_serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiles so small that every case has several both ways, on a machine where they are faster."""
    monkeypatch.setattr(onednn, "faster", lambda: True)
    for name, value in {"QUERIES": 24, "KEYS": 48, "FEWEST_KEYS": 1}.items():
        monkeypatch.setattr(tiles, name, value)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def definition(tensors, vector, span):
    """Output and log-sum-exp in float64."""
    q, k, v = (x.double() for x in tensors)
    length = q.shape[2]
    scores = 0.25 * q @ k.transpose(-1, -2)
    if vector is not None:
        scores = scores + offsets.dense(vector.double())
    hidden = torch.tensor([[not sees(i, j, span) for j in range(length)] for i in range(length)])
    scores = scores.masked_fill(hidden, -math.inf)
    return scores.softmax(-1) @ v, scores.logsumexp(-1)


@pytest.mark.parametrize("length", [1, 23, 24, 49, 150])
@pytest.mark.parametrize("span", [Span(None), Span(1), Span(20, 3), Span(70)], ids=str)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_tiles_equal_the_definition(
    length: int, span: Span, biased: bool, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(n_threads)
    tensors, _, vector = inputs(2, 2, length, 16)
    calls, forward_part = [], tiles.forward_part

    def counted(*tensors: torch.Tensor, part: threads.Part, **how: object) -> None:
        calls.append((part, tensors[4]))
        forward_part(*tensors, part=part, **how)

    monkeypatch.setattr(tiles, "forward_part", counted)
    with torch.no_grad():
        out = dispatch.attend(*tensors, Toeplitz(vector) if biased else None, 0.25, span=span)
    expected, logsumexp = definition(tensors, vector if biased else None, span)
    assert_close([out], [expected], 5e-6)
    assert calls
    gathered = torch.empty_like(logsumexp, dtype=torch.float32)
    for part, of_part in calls:
        gathered[part] = of_part
    assert_close([gathered], [logsumexp], 5e-6)


@pytest.mark.parametrize("slope", [0.5, 16.0])
def test_very_negative_biases_and_whole_tiles_that_count_for_nothing(slope: float) -> None:
    tensors, _, _ = inputs(1, 2, 300, 16)
    for vector in (
        -slope * torch.arange(300.0).expand(2, -1),
        torch.where(torch.arange(300) < 40, 0.0, -math.inf).expand(2, -1),
    ):
        with torch.no_grad():
            out = dispatch.attend(*tensors, Toeplitz(vector), 0.25)
        assert_close([out], definition(tensors, vector, Span(None))[:1], 5e-6)


@pytest.mark.parametrize("length", [1000, 5000])
def test_nothing_is_larger_than_q_or_a_tile(length: int) -> None:
    tensors, _, vector = inputs(1, 2, length, 8)
    with torch.no_grad(), Largest() as largest:
        dispatch.attend(*tensors, Toeplitz(vector), 0.25)
    assert largest.elements <= max(2 * length * 8, tiles.QUERIES * tiles.KEYS)


def test_they_serve_evaluation_of_long_windows_where_onednn_is_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiles, "FEWEST_KEYS", 1024)
    long = torch.zeros(1, 2, 2048, 4)
    assert dispatch.chosen(long, None) == "sdpa" and not tiles.serve(
        2048, None
    )  # gradients are enabled
    with torch.no_grad():
        assert dispatch.chosen(long, None) == "cpu" and tiles.serve(1024, None)
        assert not tiles.serve(1023, None) and not tiles.serve(2048, Span(1023))
        monkeypatch.setattr(onednn, "faster", lambda: False)
        assert dispatch.chosen(long, None) == "sdpa" and not tiles.serve(2048, None)


def test_their_chunks_are_told_from_the_flash_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert all(cpu.chunk_of(length) < tiles.QUERIES for length in (1, 513, 2049, 10**6))
    assert rows.chunk_of(1, 2048, cpu.chunk_of(2048)) < tiles.QUERIES
    assert tiles.KEYS % tiles.QUERIES == 0
