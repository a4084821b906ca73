"""Signals in every phase of a run: what is there is saved, the code is 128 + n, and it resumes."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lengthgen.errors import Interrupted
from lengthgen.evaluation import scoring
from lengthgen.evaluation import writing as evaluation_files
from lengthgen.reporting import publish
from lengthgen.runs import after_steps, describing, fit, prepare, run, stopping
from lengthgen.runs.folder import RunFolder
from lengthgen.training import checkpoint
from lengthgen.training import loop as training

from .test_run import REPOSITORY, draw, weights  # noqa: F401

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR1": 138, "SIGUSR2": 140}
# Where the signal comes: before or while this function is called for the n-th time.
PHASES = {
    "data": (prepare, "prepare_splits", 1),
    "the model is made": (run, "untrained_model", 1),
    "it is described": (describing, "describe", 1),
    "resident text": (fit, "resident", 1),
    "first step": (training, "forward_backward", 1),
    "a step": (training, "forward_backward", 3),
    "last step": (training, "forward_backward", 6),
    "a checkpoint": (checkpoint, "save", 1),
    "the last checkpoint": (checkpoint, "save", 3),
    "validation": (after_steps, "validation_loss", 1),
    "evaluation": (scoring.Scorer, "forward", 1),
    "evaluation later": (scoring.Scorer, "forward", 3),
    "tables": (evaluation_files, "write", 1),
    "done.json": (RunFolder, "finish", 1),
    "figures": (publish, "write_run_figures", 1),
}
SAVED = {"first step": 1, "a step": 3, "a checkpoint": 2, "validation": 3}  # steps
TRAINED = ("last step", "the last checkpoint", "evaluation", "evaluation later", "tables")


def sending(monkeypatch, phase, *numbers):
    """The process sends itself signals in that phase."""
    owner, name, call = PHASES[phase]
    plain, calls = getattr(owner, name), []

    def called(*given, **options):
        calls.append(name)
        if len(calls) == call:
            for number in numbers:
                os.kill(os.getpid(), number)
        return plain(*given, **options)

    monkeypatch.setattr(owner, name, called)


def handlers():
    return [signal.getsignal(number) for number in stopping.SIGNALS]


# One signal in all phases, the others in some.
SOME = ("data", "a step", "last step", "evaluation", "figures")


@pytest.mark.parametrize(
    ("phase", "name"),
    [(phase, name) for phase in PHASES for name in (CODES if phase in SOME else ["SIGTERM"])],
)
def test_a_signal_ends_the_run_and_the_same_command_resumes(
    ask, tmp_path, monkeypatch, phase, name
):
    before = handlers()
    with monkeypatch.context() as patch:
        sending(patch, phase, getattr(signal, name))
        with pytest.raises(Interrupted, match="rerun the same command to resume") as caught:
            run.train(ask(evaluation__factors=[1.0, 1.5]), [])
    assert caught.value.exit_code == CODES[name]
    assert handlers() == before
    saved = sorted((tmp_path / "results").glob("runs/*/checkpoints/step-*"))
    if phase in SAVED:
        assert saved[-1].name == f"step-{SAVED[phase]:06d}"
    if phase in TRAINED:
        assert saved[-1].name == "step-000006"
        assert not list((tmp_path / "results").glob("runs/*/evaluation/*"))
        monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained again"))
    outcome = run.train(ask(evaluation__factors=[1.0, 1.5]), [])
    assert outcome.folder.joinpath("done.json").exists()
    [losses] = outcome.folder.glob("evaluation/*/losses.npz")
    monkeypatch.undo()
    other = tmp_path / "other"
    whole = run.train(ask(evaluation__factors=[1.0, 1.5], results=str(other)), [])
    assert weights(outcome) == weights(whole)
    [same] = whole.folder.glob("evaluation/*/losses.npz")
    assert losses.read_bytes() == same.read_bytes()


@pytest.mark.parametrize("phase", ["a step", "last step"])
def test_a_second_signal_acts_at_once(ask, tmp_path, monkeypatch, phase):
    sending(monkeypatch, phase, signal.SIGTERM, signal.SIGINT)
    with pytest.raises(Interrupted, match=r"^stopped by SIGINT") as caught:
        run.train(ask(), [])
    assert caught.value.exit_code == 130
    steps = {path.name for path in (tmp_path / "results").glob("runs/*/checkpoints/*")}
    assert "step-000003" not in steps and "step-000006" not in steps


def test_an_ignored_signal_stays_ignored(ask, monkeypatch):
    """As nohup does it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        sending(monkeypatch, "a step", signal.SIGHUP)
        assert run.train(ask(), []).status == "trained"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_evaluate_is_stopped_likewise(ask, monkeypatch):
    first = run.train(ask(), [])
    other = ask(run=first.run_id, evaluation__documents=3)
    with monkeypatch.context() as patch:
        sending(patch, "evaluation", signal.SIGUSR1)
        with pytest.raises(Interrupted) as caught:
            run.evaluate(other, [])
    assert caught.value.exit_code == 138
    assert run.evaluate(other, []).status == "evaluated"


def test_a_training_in_a_thread_sets_no_handlers(ask):
    found, before = [], handlers()
    thread = threading.Thread(
        target=lambda: found.append((run.train(ask(), []).status, handlers() == before))
    )
    thread.start()
    thread.join()
    assert found == [("trained", True)]


def test_blocks_within_blocks_share_their_handlers():
    before = handlers()
    with stopping.watched() as outer, stopping.watched() as inner:
        assert inner is outer and handlers() != before
        with pytest.raises(Interrupted), stopping.deferred() as stop:
            assert stop is outer
            signal.raise_signal(signal.SIGUSR2)
            assert stop.signal == signal.SIGUSR2  # noted, and the block goes on
        assert not stop.deferred
    assert handlers() == before
    with pytest.raises(Interrupted, match="SIGHUP"), stopping.watched():
        signal.raise_signal(signal.SIGHUP)
    assert handlers() == before and not stopping._watching


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_command_before_it_has_begun(tmp_path, name):
    """A process of its own, stopped while it composes, imports torch or reads its data."""
    command = [
        sys.executable, "-c",
        "import sys, lengthgen.cli.jobs as jobs, lengthgen.cli.main as main\n"
        "plain = jobs.refusals.refuse_gaps\n"
        "jobs.refusals.refuse_gaps = lambda *a: (print('here', flush=True), plain(*a))\n"
        "sys.exit(main.main(sys.argv[1:]))",
        "train", "tracking=none", "dataset=files", f"dataset.path={tmp_path}", "threads=1",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    (tmp_path / "x.txt").write_text("word " * 100_000)
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"here\n"
    time.sleep(0.2)
    process.send_signal(getattr(signal, name))
    _, told = process.communicate(timeout=30)
    assert process.returncode == CODES[name], told
    assert told.decode().endswith(
        f"lengthgen: stopped by {name}; rerun the same command to resume\n"
    )
    assert b"Traceback" not in told
