"""Which kernel a GPU gets, without one: fake tensors stand on a device that is not here."""

import logging
import shutil
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from lengthgen import model as models
from lengthgen import schemes
from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Bias, Gates, Rows, Span, Toeplitz
from lengthgen.attention.kernels import flex_needs
from lengthgen.errors import ConfigError
from lengthgen.runs import kernel_choice

LENGTH = 200


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with all that flex needs."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr(flex_needs, "find_spec", lambda name: name)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    for switch in flex_needs.SWITCHES:
        monkeypatch.delenv(switch, raising=False)
    flex_needs.missing.cache_clear()
    yield
    flex_needs.missing.cache_clear()


def queries(dtype: torch.dtype = torch.bfloat16, size: int = 64, length: int = LENGTH) -> Tensor:
    with FakeTensorMode():
        return torch.empty(2, 3, length, size, dtype=dtype, device="cuda")


BIASES: dict[str, Bias] = {
    "toeplitz": Toeplitz(torch.zeros(3, LENGTH)),
    "learned toeplitz": Toeplitz(torch.zeros(3, LENGTH, requires_grad=True)),
    "rows": Rows(lambda first, last: torch.zeros(3, last - first, last)),
    "gates": Gates(torch.zeros(2, 3, LENGTH)),
    "weighted gates": Gates(torch.zeros(2, 3, LENGTH), torch.zeros(2, 3, LENGTH)),
}


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_bias_takes_flex(bias: str, dtype: torch.dtype, gpu: None) -> None:
    assert dispatch.chosen(queries(dtype), BIASES[bias]) == "flex"
    assert dispatch.chosen(queries(dtype), BIASES[bias], span=Span(20, 3)) == "flex"


def test_without_a_bias_only_a_window_takes_flex(gpu: None) -> None:
    assert dispatch.chosen(queries(), None) == "sdpa"
    assert dispatch.chosen(queries(), None, span=Span(LENGTH)) == "sdpa"  # it hides nothing
    assert dispatch.chosen(queries(), None, span=Span(20)) == "flex"
    assert dispatch.why_not_flex(queries(), None) is None


@pytest.mark.parametrize("bias", BIASES)
def test_where_flex_cannot_serve_masks_do(bias: str, gpu: None) -> None:
    cases = [
        (queries(torch.float64), 0.0, "dtype torch.float64"),
        (queries(size=8), 0.0, "heads of size 8, it needs 16 to 256"),
        (queries(size=320), 0.0, "heads of size 320"),
        (queries(), 0.1, "dropout 0.1"),
    ]
    for q, dropout, reason in cases:
        assert dispatch.chosen(q, BIASES[bias], dropout) == "sdpa"
        assert reason in (dispatch.why_not_flex(q, BIASES[bias], dropout) or "")
    assert dispatch.why_not_flex(queries(), BIASES[bias]) is None
    assert dispatch.chosen(queries(), BIASES[bias], force="sdpa") == "sdpa"


@pytest.mark.parametrize("lack", ["triton", "compiler", "switch", "old"])
def test_what_a_machine_lacks_is_said(
    lack: str, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lack == "triton":
        monkeypatch.setattr(flex_needs, "find_spec", lambda name: None)
    elif lack == "compiler":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif lack == "switch":
        monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    else:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (6, 1))
    reason = {
        "triton": "triton is not installed",
        "compiler": "no C compiler",
        "switch": "TORCH_COMPILE_DISABLE=1",
        "old": r"compute capability \(6, 1\)",
    }[lack]
    q, bias = queries(), BIASES["toeplitz"]
    assert dispatch.chosen(q, bias) == "sdpa"
    with pytest.raises(ConfigError, match=rf"'flex' cannot be used here \({reason}.*use 'auto'"):
        dispatch.chosen(q, bias, force="flex")


def test_the_compiler_that_cc_names_is_looked_for(
    gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "/opt/cc" else None)
    monkeypatch.setenv("CC", "/opt/cc -m64")
    assert flex_needs.missing(torch.device("cuda")) is None
    flex_needs.missing.cache_clear()
    monkeypatch.setenv("CC", "elsewhere")
    assert "no C compiler" in (flex_needs.missing(torch.device("cuda")) or "")


def test_only_rows_of_a_long_window_are_evaluated_in_chunks(gpu: None) -> None:
    q = queries(length=dispatch.LONGEST_DENSE + 1)
    with torch.no_grad():
        for name, bias in BIASES.items():
            assert dispatch._by_rows(q, bias, 0.0, "flex", None) == (name == "rows")
            assert dispatch._by_rows(q, bias, 0.0, "sdpa", None)
    assert not dispatch._by_rows(q, BIASES["rows"], 0.0, "flex", None)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_model_names_its_kernels_and_once_why_not_flex(
    compiled: bool, gpu: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shape = models.ModelConfig(n_layers=2, n_heads=2, width=32)
    kind = schemes.load("t5_bias")
    model = models.build(shape, kind, kind.Config(), train_length=8, vocab_size=3, seed=0)
    monkeypatch.setattr(dispatch, "_cpu_obstacle", lambda q, dropout: "a GPU")
    monkeypatch.setattr(dispatch, "why_not_flex", lambda *_: "a reason")
    kernel_choice._log_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            kernels = kernel_choice.kernels_of(model, 1, 8, compiled)
    assert kernels == [kernel_choice.TRACED if compiled else "sdpa"] * 2
    assert [record.message for record in caplog.records] == [
        "attention makes a mask of every score, as FlexAttention cannot serve: a reason"
    ]
    kernel_choice._log_once.cache_clear()
