"""What gives way when a training step fails: planted shortages of memory and broken kernels."""

import json
import re
from types import SimpleNamespace

import pytest
import torch

from lengthgen import files, schemes
from lengthgen import model as models
from lengthgen.errors import ConfigError, TooLargeError
from lengthgen.model import ModelConfig, Transformer
from lengthgen.runs import kernel_choice, run, step_plan
from lengthgen.runs.run_settings import RunSettings
from lengthgen.training.checkpoint import load_newest
from lengthgen.training.ranks import ALONE

from .test_evaluation import SHORTAGES

MEMORY = [error for error in SHORTAGES if type(error).__name__ != "OutOfResources"]


def weights(outcome):
    return load_newest(outcome.folder / "checkpoints")["model"]


def breaking(monkeypatch, fits, error):
    """Transformer.total_loss fails with `error` on batches of more windows than `fits`."""
    plain, tried = Transformer.total_loss, []

    def total_loss(self, tokens, targets):
        tried.append(len(tokens))
        if len(tokens) > fits:
            raise error
        return plain(self, tokens, targets)

    monkeypatch.setattr(Transformer, "total_loss", total_loss)
    return tried


@pytest.mark.parametrize("shortage", MEMORY, ids=lambda error: f"{type(error).__name__} {error}")
def test_out_of_memory_in_training_costs_parts_and_no_run(ask, monkeypatch, caplog, shortage):
    caplog.set_level("INFO")
    tried = breaking(monkeypatch, 1, shortage)
    outcome = run.train(ask(batch_size=6, steps=3), [])
    assert tried == [6, 3] + [1] * 6 * 3  # two tries, then three steps
    about = files.read_json(outcome.folder / "provenance.json", {})
    assert about["accumulate"] == 6 and len(about["changes"]) == 2
    assert "out of memory with 6 windows at a time: going on with 3" in about["changes"][0]
    assert about["changes"][1] in caplog.text
    monkeypatch.undo()
    # The run that was asked for: its id, and its weights up to rounding.
    other = ask(batch_size=6, steps=3, results=str(outcome.folder.parent.parent / "whole"))
    straight = run.train(other, [])
    assert straight.run_id == outcome.run_id
    torch.testing.assert_close(weights(outcome), weights(straight), rtol=1e-4, atol=1e-6)


def test_a_window_that_does_not_fit_is_one_line(ask, monkeypatch):
    breaking(monkeypatch, 0, MEMORY[0])
    line = (
        r"^out of memory in training: 1 window of 16 tokens at a time does not fit .*smaller model$"
    )
    with pytest.raises(TooLargeError, match=line) as caught:
        run.train(ask(), [])
    assert caught.value.exit_code == 8


def test_memory_that_runs_out_later_loses_no_step(ask, monkeypatch):
    tried = breaking(monkeypatch, 4, None)
    plain = Transformer.total_loss

    def total_loss(self, tokens, targets):
        if len(tried) == 3 and len(tokens) == 4:
            tried.append("full")
            raise MEMORY[0]
        return plain(self, tokens, targets)

    monkeypatch.setattr(Transformer, "total_loss", total_loss)
    outcome = run.train(ask(steps=6, log_every=1), [])
    assert tried == [4, 4, 4, "full"] + [2] * 6
    metrics = files.read_jsonl(outcome.folder / "metrics.jsonl")
    assert [row["step"] for row in metrics if "train/loss" in row] == [1, 2, 3, 4, 5, 6]


def make_plan(on_cuda=True, **changed):
    settings = RunSettings(**{"steps": 100_000, "batch_size": 128} | changed)
    dimensions = {"train_length": 16, "vocab_size": 8, "seed": 0}
    shape = ModelConfig(n_layers=2, n_heads=2, width=8)
    none = schemes.load("none")
    model = models.build(shape, none, none.Config(), **dimensions)
    device = torch.device("cuda" if on_cuda else "cpu")
    asked = SimpleNamespace(
        config=SimpleNamespace(settings=settings, start=None), device=device, ranks=ALONE
    )
    return step_plan.plan_of(asked, model)


def kernels(model):
    return {m.kernel for m in model.modules() if isinstance(m, models.Attention)}


def test_a_first_step_that_fails_is_tried_otherwise_in_order():
    plan, seen = make_plan(), []
    error = RuntimeError("Failed to find C compiler. Please specify via CC")
    while plan.others:
        plan.give_way(error, first=True)
        seen.append((plan.compile, plan.kernel, kernels(plan.model)))
    assert seen == [
        (False, "auto", {"auto"}), (True, "sdpa", {"sdpa"}), (False, "sdpa", {"sdpa"}),
    ]  # fmt: skip
    assert plan.changes[0] == (
        "the first step failed with compile=true kernel=auto (RuntimeError: Failed to find C "
        "compiler. Please specify via CC); going on with compile=false kernel=auto"
    )
    assert json.loads(json.dumps(plan.facts())) == plan.facts()
    with pytest.raises(RuntimeError, match="C compiler"):  # all was tried
        plan.give_way(error, first=True)


@pytest.mark.parametrize(
    ("changed", "others"),
    [
        ({}, [(False, "auto"), (True, "sdpa"), (False, "sdpa")]),
        ({"compile": True}, [(True, "sdpa")]),  # what the user chose stays
        ({"kernel": "flex"}, [(False, "flex")]),
        ({"compile": True, "kernel": "flex"}, []),
        ({"compile": False}, [(False, "sdpa")]),
        ({"on_cuda": False}, []),
    ],
)
def test_what_may_give_way(changed, others):
    assert make_plan(**changed).others == others


def test_a_later_failure_or_a_kernel_too_large_for_the_gpu():
    plan = make_plan()
    with pytest.raises(RuntimeError, match="device-side assert"):
        plan.give_way(RuntimeError("device-side assert triggered"), first=False)
    plan.give_way(next(e for e in SHORTAGES if e not in MEMORY), first=True)  # shared memory
    assert (plan.compile, plan.accumulate) == (False, 1)


def test_an_operation_without_an_ordered_form_is_one_line():
    plan = make_plan()
    words = "cumsum_cuda_kernel does not have a deterministic implementation, but you set"
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(ConfigError, match=f"^deterministic=true.*{words}"):
            plan.give_way(RuntimeError(words), first=True)
    finally:
        torch.use_deterministic_algorithms(False)


def test_compiling_is_chosen_where_it_repays():
    def chosen(**changed):
        return make_plan(**changed).compile

    assert chosen(steps=100_000) and not chosen(steps=100)
    assert not chosen(steps=100_000, on_cuda=False)
    assert chosen(steps=100, compile=True) and not chosen(steps=100_000, compile=False)


def test_the_plan_is_in_provenance(ask):
    outcome = run.train(ask(), [])
    about = files.read_json(outcome.folder / "provenance.json", {})
    assert (about["compile"], about["accumulate"], about["changes"]) == (False, 1, [])


def test_a_compiled_step_gives_the_same_weights(ask, monkeypatch):
    compiled = []

    def compile_(function, **options):
        compiled.append(function.__name__)
        return function

    monkeypatch.setattr(torch, "compile", compile_)
    outcome = run.train(ask(compile=True), [])
    assert compiled == ["total_loss"]  # once, and what is trained with
    about = files.read_json(outcome.folder / "provenance.json", {})
    assert about["compile"] and all(re.match("auto, as", each) for each in about["kernels"])


def test_an_evaluation_that_fails_on_a_gpu_is_done_with_torchs_attention(caplog):
    used, error = [], RuntimeError("Triton Error [CUDA]: invalid argument")
    weight = SimpleNamespace(device=torch.device("cuda"))
    model = SimpleNamespace(embedding=SimpleNamespace(weight=weight), use_kernel=used.append)

    def work():
        if not used:
            raise error
        return "scored"

    assert kernel_choice.with_fallback(work, model, "auto") == ("scored", "sdpa")
    assert used == ["sdpa"]
    assert "kernel=auto (RuntimeError: Triton Error [CUDA]: invalid argument)" in caplog.text
    used.clear()
    with pytest.raises(RuntimeError, match="Triton"):  # what the user chose stays
        kernel_choice.with_fallback(work, model, "flex")
    weight.device = torch.device("cpu")
    with pytest.raises(RuntimeError, match="Triton"):
        kernel_choice.with_fallback(work, model, "auto")
    assert used == []
