"""Long work ends at the piece in which a signal comes, leaves nothing half, and can be done again.

Each piece of work sends this process a signal at its second piece, and counts its pieces.
"""

import os
import signal

import pytest

from lengthgen.bench import intervals
from lengthgen.cli import main
from lengthgen.data import splits
from lengthgen.decisions import costs
from lengthgen.diagnostics import figures, writing
from lengthgen.errors import Interrupted
from lengthgen.reporting.figures import drawing
from lengthgen.runs import run, stopping
from lengthgen.statistics import calibration

from .test_diagnosing import asked

AT = 2


@pytest.fixture
def planted(monkeypatch):
    """(owner, name) -> the list of the calls so far; the second one sends a signal first."""

    def plant(owner, name, number=signal.SIGINT):
        plain, calls = getattr(owner, name), []

        def called(*given, **options):
            calls.append(name)
            if len(calls) == AT:
                os.kill(os.getpid(), number)
            return plain(*given, **options)

        monkeypatch.setattr(owner, name, called)
        return calls

    return plant


def test_tokenising(tmp_path, planted, monkeypatch):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(12):
        (folder / f"{i}.txt").write_text(f"text {i} " * 20)
    request = {"name": "files", "path": str(folder), "validation_fraction": 0.3}, {"name": "bytes"}
    calls = planted(splits, "_with_ids")
    with pytest.raises(Interrupted, match="rerun"), stopping.watched():
        splits.prepare_splits(*request, tmp_path / "cache")
    assert len(calls) == AT
    assert not [path for path in tmp_path.glob("cache/stores/*/*") if not path.name.startswith(".")]
    made = splits.prepare_splits(*request, tmp_path / "cache")
    assert made.train.n_documents + made.validation.n_documents == 12


def test_learning_a_tokenizer(tmp_path, planted):
    from lengthgen.data import tokenizers

    recipe = tokenizers.configured({"name": "bpe", "vocab_size": 300})
    texts = [f"text {i} and more of it. ".encode() for i in range(500)]
    read = []

    def reading():
        for text in texts:
            read.append(text)
            if len(read) == len(texts) + AT:  # the first time they are read for their hash
                os.kill(os.getpid(), signal.SIGTERM)
            yield text

    with pytest.raises(Interrupted, match="SIGTERM"), stopping.watched():
        recipe.build(reading, tmp_path)
    assert not list(tmp_path.rglob("*.json"))
    assert recipe.build(lambda: texts, tmp_path).vocab_size == 300


def test_diagnostics(ask, planted, monkeypatch):
    monkeypatch.setattr(figures, "save_figure", lambda *given: [])
    outcome, evaluate = asked(ask, scheme="learned")
    calls = []

    def measured(subject):
        calls.append(subject)
        if len(calls) == AT:
            os.kill(os.getpid(), signal.SIGTERM)
        return writing.Finding(skipped="a stand-in")

    for name in list(writing.MEASURES):
        monkeypatch.setitem(writing.MEASURES, name, measured)
    with pytest.raises(Interrupted, match="SIGTERM"):
        evaluate()
    assert len(calls) == AT and not list(outcome.folder.glob("diagnostics/*"))
    assert evaluate().folder == outcome.folder
    assert len(calls) == AT + len(writing.MEASURES)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_figures_of_all_runs(ask, tmp_path, planted, capsys, monkeypatch, name, code):
    for seed in (0, 1):
        run.train(ask(seed=seed, evaluation__factors=[1.0, 2.0]), [], figures=False)
    saved = []
    monkeypatch.setattr(drawing, "save", lambda figure, stem, look: saved.append(stem) or [stem])
    calls = planted(drawing, "save", getattr(signal, name))
    command = ["plot", "--results", str(tmp_path / "results")]
    assert main.main(command) == code
    assert len(calls) == AT and len(saved) < AT
    assert capsys.readouterr().err == (
        f"lengthgen: stopped by {name}; rerun the same command to resume\n"
    )
    assert main.main(command) == 0 and len(saved) > AT


def test_the_rounds_of_a_decision(planted):
    calls = planted(costs, "seconds_of")
    with pytest.raises(Interrupted), stopping.watched():
        costs._timed({"a": lambda: None, "b": lambda: None}, 50, 1)
    assert len(calls) == AT


def test_the_calibration_of_intervals(tmp_path, monkeypatch, capsys):
    done = []

    def few(**options):
        done.append("few")
        os.kill(os.getpid(), signal.SIGINT)
        return []

    monkeypatch.setattr(intervals, "pilot", lambda *given: None)
    monkeypatch.setattr(calibration, "table", lambda **options: done.append("table") or [])
    monkeypatch.setattr(calibration, "few_documents", few)
    monkeypatch.setattr(intervals, "same_scheme", lambda *given: done.append("same") or [])
    assert intervals.main(["--out", str(tmp_path / "out")]) == 130
    assert done == ["table", "few"] and not (tmp_path / "out").exists()
    assert "stopped by SIGINT; rerun" in capsys.readouterr().err


@pytest.mark.parametrize("command", [each.name for each in main.COMMANDS])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_every_command_says_in_a_line_what_stopped_it(command, name, monkeypatch, capsys):
    monkeypatch.setattr(main, "_call", lambda command, argv: signal.raise_signal(number))
    number = getattr(signal, name)
    assert main.main([command]) == 128 + number
    assert capsys.readouterr().err == (
        f"lengthgen: stopped by {name}; rerun the same command to resume\n"
    )
