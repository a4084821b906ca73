"""Several runs as one program: each is the run that it is alone, whatever happens to the others."""

import os
import signal
from pathlib import Path

import pytest
import torch

from lengthgen import files
from lengthgen.cli.main import main
from lengthgen.errors import Interrupted
from lengthgen.model.stack import Stack
from lengthgen.runs import run, together
from lengthgen.training import checkpoint
from lengthgen.training import stacked as training

from .test_run import weights

SCHEMES = ("learned", "sinusoidal", "none", "rope", "alibi", "t5_bias")
# Other forms of scores: rows, gates, a learned vector, weighted gates, a window's.
FORMS = ("fire", "fox", "kerple_log", "sandwich", "cable", "per_offset", "xpos")
SMALL = {"steps": 12, "log_every": 1, "evaluation__factors": [1.0], "validate_every": 6}


def asked(ask, names, seeds, **changes):
    return [ask(scheme=name, seed=seed, **changes) for name in names for seed in seeds]


def losses(outcome):
    rows = files.read_jsonl(outcome.folder / "metrics.jsonl")
    return [row["train/loss"] for row in rows if "train/loss" in row]


def trained(configs):
    """Every run after the joint training and what is left of it; the statuses too."""
    run.train_together(configs)
    return [run.train(config, [], figures=False) for config in configs]


def elsewhere(config, folder):
    return config | {"results": str(folder)}


def apart(one, other):
    """The most that the losses of two runs differ in a step; nats."""
    return max(abs(a - b) for a, b in zip(losses(one), losses(other), strict=True))


def same(one, other):
    """Whether two runs have the same losses and the same weights, to the bit."""
    return apart(one, other) == 0 and weights(one) == weights(other)


@pytest.mark.parametrize(
    "seeds",
    [pytest.param((0,), id="one seed"), pytest.param((0, 1, 2), id="3", marks=pytest.mark.slow)],
)
def test_each_is_the_run_that_it_is_alone(ask, tmp_path, seeds):
    """Six schemes, fifty steps: losses, weights and the tables after them."""
    changes = SMALL | {"steps": 50, "validate_every": 0}
    configs = asked(ask, SCHEMES, seeds, **changes)
    outcomes = trained(configs)
    assert {outcome.status for outcome in outcomes} == {"evaluated"}
    for outcome, config in zip(outcomes, configs, strict=True):
        other = run.train(elsewhere(config, tmp_path / "alone"), [], figures=False)
        assert other.status == "trained"
        assert apart(outcome, other) <= 1e-6, outcome.run_id
        if same(outcome, other):
            tables = [each.evaluation / "lengths.csv" for each in (outcome, other)]
            assert tables[0].read_bytes() == tables[1].read_bytes()


def test_every_form_of_scores(ask, tmp_path):
    changes = SMALL | {"model__qk_norm": True, "model__norm": "rmsnorm", "model__tie_head": False}
    changes |= {"accumulate": 2, "model__activation": "swiglu"}
    configs = asked(ask, FORMS, (0,), **changes)
    for outcome, config in zip(trained(configs), configs, strict=True):
        other = run.train(elsewhere(config, tmp_path / "alone"), [], figures=False)
        assert outcome.status == "evaluated"
        assert apart(outcome, other) <= 1e-6, outcome.run_id


def test_norms_of_a_gpu_are_those_of_a_model(ask):
    """Where the weights of all models multiply at once, not by torch's kernel for one."""
    x, weight = torch.randn(3, 2, 5, 8), torch.rand(3, 8)
    for norm, plain in (
        ("layernorm", torch.nn.functional.layer_norm),
        ("rmsnorm", torch.nn.functional.rms_norm),
    ):
        stack = Stack.__new__(Stack)
        stack.config = type("Config", (), {"norm": norm})()
        batched = stack._norm(x, None) * weight[:, None, None]
        for m in range(3):
            torch.testing.assert_close(batched[m], plain(x[m], [8], weight[m], eps=1e-5))


class Stopping(Exception):
    pass


def test_a_signal_saves_all_of_them(ask, tmp_path, monkeypatch):
    """SIGTERM at step 5: each has a checkpoint of it; resumed together, the bits are alone's."""
    configs = asked(ask, ("none", "t5_bias"), (0, 1), **SMALL)
    step = training.StackedOptimizer.step

    def interrupted(self):
        step(self)
        if self.states[0].step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(training.StackedOptimizer, "step", interrupted)
    with pytest.raises(Interrupted, match="rerun the same command"):
        run.train_together(configs)
    folders = sorted((tmp_path / "results" / "runs").iterdir())
    assert [checkpoint.newest(each / "checkpoints").name for each in folders] == ["step-000005"] * 4
    monkeypatch.undo()
    for outcome, config in zip(trained(configs), configs, strict=True):
        other = run.train(elsewhere(config, tmp_path / "alone"), [], figures=False)
        assert same(outcome, other)
        noted = files.read_json(outcome.folder / "provenance.json")["segments"]
        assert len(noted) == 1 and noted[0]["together"] is True


def test_runs_that_stand_at_different_steps_wait_for_each_other(ask, tmp_path, monkeypatch):
    """As after a kill between two checkpoints: those behind go first."""
    configs = asked(ask, ("none", "alibi", "rope"), (0,), **SMALL | {"checkpoint_every": 1})
    stop_after(monkeypatch, 7)
    with pytest.raises(Stopping):
        run.train_together(configs)
    monkeypatch.undo()
    late = sorted((tmp_path / "results" / "runs").iterdir())[1]
    checkpoint.forget_after(late / "checkpoints", 6)
    sizes = []
    stack = Stack.__init__
    monkeypatch.setattr(
        Stack, "__init__", lambda self, m: (sizes.append(len(m)), stack(self, m))[1]
    )
    for outcome, config in zip(trained(configs), configs, strict=True):
        other = run.train(elsewhere(config, tmp_path / "alone"), [], figures=False)
        assert same(outcome, other)
    assert sizes == [1, 3]


def stop_after(monkeypatch, last):
    """The process as good as dies after step `last`: nothing is saved on the way out."""
    step = training.StackedOptimizer.step

    def dying(self):
        step(self)
        if self.states[0].step > last:
            raise Stopping

    monkeypatch.setattr(training.StackedOptimizer, "step", dying)
    monkeypatch.setattr(together, "is_out_of_memory", lambda error: False)
    monkeypatch.setattr(together, "UserError", Exception)  # so that it goes through


# A scheme whose embeddings are not finite in one step, from 1.
BREAKS = """
from dataclasses import dataclass

from lengthgen.schemes.none import NoPE


@dataclass
class Config:
    at: int = 0


class Breaks(NoPE):
    Config = Config

    def begin_step(self, step, steps):
        self.step = step + 1

    def embed(self, x, positions):
        return x * float("nan") if self.training and self.step == self.config.at else x
"""


@pytest.mark.parametrize("at", [1, 5])
def test_one_that_is_not_finite_goes_on_alone(ask, tmp_path, at):
    """It leaves before the update, and skips the step as it does alone; the others have no part."""
    (tmp_path / "own" / "scheme").mkdir(parents=True)
    (tmp_path / "own" / "scheme" / "breaks.py").write_text(BREAKS)
    configs = asked(ask, ("none", "t5_bias"), (0, 1), **SMALL)
    configs.insert(1, configs[0] | {"scheme": {"name": "breaks", "at": at}})
    folders = [tmp_path / "own"]
    run.train_together(configs, folders)
    outcomes = [run.train(config, folders, figures=False) for config in configs]
    assert [outcome.status for outcome in outcomes].index("trained") == 1
    assert [outcome.status for outcome in outcomes].count("trained") == 1
    for outcome, config in zip(outcomes, configs, strict=True):
        other = run.train(elsewhere(config, tmp_path / "alone"), folders, figures=False)
        assert same(outcome, other)
    ended = files.read_json(outcomes[1].folder / "done.json")["training"]
    assert ended["skips"]["skipped"] == [at]


def test_what_cannot_be_stacked_is_trained_alone(ask, caplog):
    caplog.set_level("INFO", logger="lengthgen")
    configs = [
        *asked(ask, ("none", "t5_bias", "cope", "cape"), (0,), **SMALL),
        ask(scheme="none", seed=1, **SMALL | {"settle": 0.01, "optim__schedule": "stable"}),
        ask(scheme="none", seed=2, **SMALL | {"settle": 0.01, "optim__schedule": "stable"}),
        ask(scheme="none", seed=3, model__width=32, **SMALL),
    ]
    outcomes = trained(configs)
    by = [outcome.status for outcome in outcomes]
    assert by == ["evaluated", "evaluated", *["trained"] * 5]
    for reason in ("computes the scores itself", "draws positions at random", "settle"):
        assert reason in caplog.text


def test_a_run_without_a_need_is_left_out(ask, tmp_path):
    configs = asked(ask, ("none",), (0, 1, 2), **SMALL)
    run.train_together(configs, left_out=lambda one: one.config.settings.seed == 1)
    runs = (tmp_path / "results" / "runs").iterdir()
    assert sorted(each.name.split("-s")[1][0] for each in runs) == ["0", "2"]


def test_dropout_is_trained_alone(ask, caplog):
    caplog.set_level("INFO", logger="lengthgen")
    configs = asked(ask, ("none",), (0, 1), **SMALL | {"model__dropout": 0.1})
    assert [outcome.status for outcome in trained(configs)] == ["trained", "trained"]
    assert "dropout=0.1 draws at random" in caplog.text


def test_memory_that_runs_out_makes_fewer_go_at_a_time(ask, tmp_path, monkeypatch, caplog):
    configs = asked(ask, ("none",), (0, 1, 2, 3), **SMALL)
    losses_of, sizes = Stack.total_losses, []

    def total_losses(stack, tokens, targets):
        sizes.append(len(tokens))
        if len(tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses_of(stack, tokens, targets)

    monkeypatch.setattr(Stack, "total_losses", total_losses)
    outcomes = trained(configs)
    assert {outcome.status for outcome in outcomes} == {"evaluated"}
    assert sizes == [4, *[2] * 24]
    assert "out of memory with 4 runs at a time: going on with 2" in caplog.text
    other = run.train(elsewhere(configs[0], tmp_path / "alone"), [], figures=False)
    assert same(outcomes[0], other)


def test_a_checkpoint_holds_one_model_and_not_the_stack(ask, tmp_path):
    configs = asked(ask, ("none",), range(6), **SMALL)
    outcome = trained(configs)[0]
    other = run.train(elsewhere(configs[0], tmp_path / "alone"), [], figures=False)
    size = [
        (each.folder / "checkpoints" / "step-000012" / "state.pt").stat().st_size
        for each in (outcome, other)
    ]
    assert size[0] <= 1.1 * size[1]


def test_a_run_that_resumes_alone_says_that_its_conditions_changed(ask, monkeypatch, caplog):
    configs = asked(ask, ("none",), (0, 1), **SMALL | {"checkpoint_every": 1})
    stop_after(monkeypatch, 7)
    with pytest.raises(Stopping):
        run.train_together(configs)
    monkeypatch.undo()
    run.train(configs[0], [], figures=False)
    assert "together True -> None" in caplog.text


def test_a_sweep_trains_its_jobs_together(text, tmp_path, monkeypatch, capsys, caplog):
    """The joint training first, then each job completes its run; again, there is nothing to do."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", logger="lengthgen")
    words = [
        "train", "-m", "scheme=none,alibi", "seed=0,1", "together=true", "model=nano",
        "model.width=32", "dataset=files", f"dataset.path={text}", "train_length=32", "steps=4",
        "batch_size=2", "tracking=none", "validate_every=0", "evaluation=quick",
        "evaluation.documents=4", "threads=1",
    ]  # fmt: skip
    assert main(words) == 0
    assert "4 runs together" in caplog.text
    printed = capsys.readouterr().out
    assert [line.split()[2] for line in printed.splitlines() if "/4  " in line] == ["evaluated"] * 4
    command = files.read_json(next(Path("results/runs").glob("none-*/provenance.json")))["command"]
    assert "together=true" in command
    caplog.clear()
    assert main(words) == 0
    assert "runs together" not in caplog.text
