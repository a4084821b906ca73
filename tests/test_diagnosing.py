"""Diagnostics of whole runs: done once, apart from the evaluation, with a retrofit, refused with
one line."""

import csv

import pytest
import torch

from lengthgen import files
from lengthgen.diagnostics import figures, writing
from lengthgen.errors import ConfigError, DataError
from lengthgen.runs import run


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Without figures, which take longer than all the rest of so small a run."""
    monkeypatch.setattr(figures, "save_figure", lambda *given: [])


def asked(ask, **changes):
    """A small training, and the evaluation of it with diagnostics."""
    outcome = run.train(ask(**changes), [], figures=False)

    def evaluate(which=writing.MEASURES, windows=2, documents=4, factors=None, **more):
        given = {
            "which": list(which),
            "windows": windows,
            "documents": documents,
            "factors": factors,
        }
        return run.evaluate(
            {
                **ask(**changes),
                "run": outcome.run_id,
                "diagnostics": {"name": "all", **given},
                **more,
            },
            [],
            figures=False,
        )

    return outcome, evaluate


def rows(folder, name):
    with (folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def diagnostics(outcome):
    return sorted((outcome.folder / "diagnostics").iterdir())


def everything(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_an_evaluation_with_diagnostics(ask, caplog):
    outcome, evaluate = asked(ask, scheme="learned")
    before = everything(outcome.folder / "evaluation")
    with caplog.at_level("INFO"):
        assert evaluate().status == "evaluated"
    assert (
        everything(outcome.folder / "evaluation") == before
    )  # a finished evaluation is not done again
    [folder] = diagnostics(outcome)
    tables = "exposure untrained_share attention_spread attention_growth receptive_field"
    tables = (*tables.split(), "receptive_field_size", "probes")
    expected = {*(f"{table}.csv" for table in tables), "summary.md", "settings.json"}
    assert {path.name for path in folder.iterdir()} == expected
    assert (
        rows(folder, "probes")[0]["run"] == outcome.run_id
        and rows(folder, "probes")[0]["scheme"] == "learned"
    )
    table = rows(folder, "exposure")
    assert [row["index"] for row in table[:-1]] == [str(r) for r in range(16)] and all(
        float(row["moved"]) > 0 for row in table[:-1]
    )
    assert (table[-1]["first"], table[-1]["last"], table[-1]["moved"], table[-1]["reached"]) == (
        "16",
        "63",
        "0",
        "0",
    )
    assert "Positions 16 to 63 read no trained parameter" in (folder / "summary.md").read_text()
    assert "phase_coverage: skipped, the scheme tells of no rotary frequencies" in caplog.text
    # again: nothing; other settings: another folder beside it
    before = everything(outcome.folder)
    assert evaluate().status == "nothing to do" and everything(outcome.folder) == before
    evaluate(which=["exposure"])
    assert len(diagnostics(outcome)) == 2
    assert run.train(ask(scheme="learned"), [], figures=False).status == "nothing to do"


def test_with_a_retrofit_and_other_lengths(ask):
    outcome, evaluate = asked(ask, scheme="rope")
    retrofit = {"name": "position_interpolation", "factor": None}
    plain = evaluate(which=["phase_coverage"], factors=[2])
    [first] = diagnostics(outcome)
    evaluate(which=["phase_coverage"], factors=[2], retrofit=retrofit)
    [second] = set(diagnostics(outcome)) - {first}
    without, within = rows(first, "phase_coverage"), rows(second, "phase_coverage")
    assert plain.status == "evaluated" and within[0]["scheme"].startswith(
        "rope+position_interpolation"
    )
    assert (
        sum(int(row["unseen"]) for row in without) > 0 == sum(int(row["unseen"]) for row in within)
    )
    assert [float(row["frequency_evaluated"]) for row in within] == pytest.approx(
        [float(row["frequency"]) / 2 for row in within]
    )
    assert files.read_json(first / "settings.json")["lengths"] == [16, 32]
    # the evaluation with the retrofit was done on the way, and only once
    assert len(list((outcome.folder / "evaluation").iterdir())) == 2


def test_retrofitted_attention_is_what_is_measured(ask):
    outcome, evaluate = asked(ask, scheme="none")
    evaluate(which=["attention_spread"])
    [first] = diagnostics(outcome)
    evaluate(which=["attention_spread"], retrofit={"name": "hard_window", "window": 4})
    [second] = set(diagnostics(outcome)) - {first}
    keys = [
        max(float(row["effective_keys"]) for row in rows(folder, "attention_spread"))
        for folder in (first, second)
    ]
    assert keys[1] <= 4 + 1e-6 < keys[0]


def test_lengths_that_are_refused_are_left_out(ask):
    outcome, evaluate = asked(ask, scheme="learned", scheme__tail="refuse")
    evaluate()
    about = files.read_json(diagnostics(outcome)[0] / "settings.json")
    assert about["lengths"] == [8, 16] and about["refused"] == [20, 24, 32, 48, 64]


def test_what_cannot_be_is_refused_in_one_line(ask):
    outcome, evaluate = asked(ask)
    with pytest.raises(ConfigError, match=r"diagnostics\.which=prob: expected one of exposure"):
        evaluate(which=["prob"])
    with pytest.raises(ConfigError, match="whole number"):
        evaluate(factors=[1.03])
    with pytest.raises(DataError, match="needs a validation document of"):
        evaluate(factors=[1000])
    with pytest.raises(ConfigError, match=r"diagnostics\.windows=0"):
        evaluate(windows=0)
    assert not (outcome.folder / "diagnostics").exists()


def test_a_broken_one_leaves_nothing(ask, monkeypatch):
    outcome, evaluate = asked(ask)

    def breaks(subject):
        raise torch.linalg.LinAlgError("singular")

    with monkeypatch.context() as patch:
        patch.setitem(writing.MEASURES, "probes", breaks)
        with pytest.raises(torch.linalg.LinAlgError):
            evaluate()
    assert not (outcome.folder / "diagnostics").exists()
    assert evaluate().status == "evaluated"


def test_one_without_room_in_memory_is_tried_again(ask, monkeypatch, caplog):
    outcome, evaluate = asked(ask)
    measured = []

    def counted(name, measure):
        def measuring(subject):
            measured.append(name)
            return measure(subject)

        return measuring

    def full(subject):
        measured.append("probes")
        raise torch.OutOfMemoryError("CUDA out of memory")

    for name in ("probes", "exposure"):
        monkeypatch.setitem(writing.MEASURES, name, counted(name, writing.MEASURES[name]))
    with monkeypatch.context() as patch:
        patch.setitem(writing.MEASURES, "probes", full)
        evaluate(which=["exposure", "probes"])
        (folder,) = diagnostics(outcome)
        assert files.read_json(folder / "settings.json")["no_room"] == ["probes"]
        before = everything(folder)
        evaluate(which=["exposure", "probes"])
        assert everything(folder) == before and "probes: skipped, as before" in caplog.text
    assert measured == ["exposure", "probes", "probes"]
    assert not (folder / "probes.csv").exists()
    exposure = (folder / "exposure.csv").read_bytes()

    evaluate(which=["exposure", "probes"])
    assert rows(folder, "probes") and diagnostics(outcome) == [folder]
    assert (folder / "exposure.csv").read_bytes() == exposure
    assert "no_room" not in files.read_json(folder / "settings.json")
    assert measured.count("probes") == 3, "measured once more, not twice"
    assert evaluate(which=["exposure", "probes"]).status == "nothing to do"


def test_windows_that_must_be_whole_documents(ask):
    small = {
        "dataset": "fractional_lag", "dataset__document_length": 16, "dataset__lengths": [16, 32],
        "dataset__train_documents": 40, "dataset__validation_documents": 6,
        "cross_documents": False, "evaluation__lengths": [16, 32],
    }  # fmt: skip
    given = {key: value for key, value in ask(**small).items() if key != "dataset"}
    given["dataset"] = {
        key: value
        for key, value in ask(**small)["dataset"].items()
        if key not in ("path", "validation_fraction")
    }
    outcome = run.train(given, [], figures=False)
    diagnosed = {
        "name": "all",
        "which": ["receptive_field", "probes"],
        "windows": 3,
        "documents": 4,
        "factors": None,
    }
    run.evaluate({**given, "run": outcome.run_id, "diagnostics": diagnosed}, [], figures=False)
    [folder] = diagnostics(outcome)
    assert {(row["eval_length"], row["n_windows"]) for row in rows(folder, "receptive_field")} == {
        ("16", "3"),
        ("32", "3"),
    }
    assert {row["n_documents"] for row in rows(folder, "probes")} == {"2"}


@pytest.mark.parametrize("scheme", ["randomised", "bipe", "fope"])
def test_schemes_with_positions_of_their_own(ask, scheme):
    outcome, evaluate = asked(
        ask,
        scheme=scheme,
        model__n_layers=2,
        modifiers={"ssmax": {"bias": True}} if scheme == "fope" else {},
    )
    assert evaluate().status == "evaluated"
    assert rows(diagnostics(outcome)[0], "attention_spread")
