"""A training that goes on under other conditions says so; one that does not computes the same."""

import logging

import pytest
import torch

from lengthgen import files
from lengthgen.errors import Interrupted
from lengthgen.evaluation import records
from lengthgen.reporting import publication
from lengthgen.runs import after_steps, describing, run, segments
from lengthgen.runs.folder import RunFolder


@pytest.fixture
def resumed(ask, monkeypatch):
    """Stops a training after 4 of 6 steps and goes on with `changes`. Returns its folder."""

    def trained(before=lambda: None, **changes):
        with monkeypatch.context() as patch:
            log = after_steps.AfterSteps._log

            def stop(self, report):
                log(self, report)
                if report.step == 4:
                    self.stop.signal = 15

            patch.setattr(after_steps.AfterSteps, "_log", stop)
            with pytest.raises(Interrupted):
                run.train(ask(), [], figures=False)
        before()
        return run.train(ask(**changes), [], figures=False).folder

    return trained


def noted(folder):
    return files.read_json(folder / "provenance.json")["segments"]


def weights(folder):
    return files.read_json(folder / "done.json")["weights_sha256"]


def test_the_same_conditions_are_one_segment_and_the_same_bits(ask, resumed, tmp_path, caplog):
    folder = resumed()
    (only,) = noted(folder)
    assert only["after_step"] == 0 and only["threads"] == 1 and only["torch"] == torch.__version__
    assert records.run(folder).mixed == [] and "other conditions" not in caplog.text
    whole = run.train(ask(results=str(tmp_path / "whole")), [], figures=False)
    assert weights(folder) == weights(whole.folder)


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"threads": 2}, "threads"),
        ({"kernel": "reference"}, "kernels"),
        ({"linear": "onednn"}, "linear"),
        ({"compile": True}, "compile"),
    ],
)
def test_other_conditions_are_said_and_noted(resumed, changes, name, caplog, monkeypatch):
    if name == "linear":
        monkeypatch.setattr(describing, "linear_of", lambda model, compiled: model.linear)
    if name == "compile":  # which takes a compiler, and seconds
        monkeypatch.setattr(torch, "compile", lambda work: work)
    folder = resumed(**changes)
    assert name in records.run(folder).mixed
    first, second = noted(folder)
    assert (first["after_step"], second["after_step"]) == (0, 4)
    (line,) = (each for each in caplog.messages if "other conditions" in each)
    assert f"{name} {segments._short(first[name])} -> {segments._short(second[name])}" in line
    (about,) = publication.provenance([records.run(folder)])["runs"]
    assert name in about["mixed"]


@pytest.mark.parametrize(
    "place, value, name",
    [
        ((torch, "__version__"), "9.9.9", "torch"),
        ((segments, "__version__"), "9.9.9", "lengthgen"),
        ((segments, "source_hash"), lambda: "feedfeedfeed", "code"),
    ],
)
def test_other_versions_and_other_code_are_noted(resumed, monkeypatch, caplog, place, value, name):
    folder = resumed(before=lambda: monkeypatch.setattr(*place, value))
    assert records.run(folder).mixed == [name]
    assert f"{name} " in caplog.text


def test_the_hash_of_the_code_is_that_of_every_source(tmp_path, monkeypatch):
    first = segments.source_hash()
    package = tmp_path / "lengthgen" / "runs"
    package.mkdir(parents=True)
    monkeypatch.setattr(segments, "__file__", str(package / "segments.py"))
    (package / "a.py").write_text("1")
    hashes = {first}
    for text in ("1", "2"):
        segments.source_hash.cache_clear()
        (package / "a.py").write_text(text)
        hashes.add(segments.source_hash())
    segments.source_hash.cache_clear()
    assert len(hashes) == 3


def test_steps_that_are_done_again_are_of_the_newest_segment(ask, caplog):
    """A process that died before its first checkpoint leaves a segment that computed nothing."""
    folder = RunFolder(run.train(ask(), [], figures=False).folder)
    caplog.set_level(logging.WARNING)
    one, two, three = ({"threads": n} for n in (1, 2, 3))
    folder.note({"segments": [{"after_step": 0, **one}]})
    segments.begin(folder, 4, two)
    segments.begin(folder, 4, three)
    assert noted(folder.path) == [{"after_step": 0, **one}, {"after_step": 4, **three}]
    segments.begin(folder, 4, one)
    assert noted(folder.path) == [{"after_step": 0, **one}]
    segments.begin(folder, 0, two)
    assert noted(folder.path) == [{"after_step": 0, **two}]


def test_a_run_of_an_earlier_version_goes_on(ask, resumed):
    folder = resumed()
    about = files.read_json(folder / "provenance.json")
    del about["segments"]
    files.write_json(folder / "provenance.json", about)
    assert records.run(folder).mixed == []
    segments.begin(RunFolder(folder), 4, {"threads": 2})
    assert noted(folder) == [{"after_step": 4, "threads": 2}]
