"""What was damaged after it was written is found, named, and made again by the same command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lengthgen import files
from lengthgen.cli import plot
from lengthgen.errors import CheckpointError
from lengthgen.evaluation import records, seals
from lengthgen.evaluation.scoring import Scored
from lengthgen.reporting import publish, tables
from lengthgen.runs import evaluating, run
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.loading import load_results
from lengthgen.studies import report, study_folder

from .fake_runs import write_runs

TABLES = ("lengths.csv", "documents.csv", "positions.csv", "losses.npz", "settings.json")
OWN = ("config.yaml", "provenance.json", "metrics.jsonl", "done.json")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def blank(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def empty(file: Path) -> None:
    file.write_bytes(b"")


DAMAGES = (flip, cut, blank, empty, Path.unlink)


@pytest.fixture
def figures(monkeypatch):
    """Draws two small files in place of matplotlib's; returns how often it did."""
    calls = []

    def draw(folder, settings):
        calls.append(settings)
        for name in ("a.png", "a.svg"):
            files.write_text(folder / "figures" / name, settings)
        return [folder / "figures" / "a.png", folder / "figures" / "a.svg"]

    monkeypatch.setattr(publish, "write_run_figures", draw)
    return calls


def contents(folder: Path, names=("*",)) -> dict[str, bytes]:
    found = (path for name in names for path in folder.rglob(name) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def numbers(folder: Path) -> dict[str, bytes]:
    """Of a run: what must be the same again after a repair. settings.json holds the time."""
    found = contents(folder, ("*.csv", "losses.npz", "a.*", "config.yaml"))
    lines = found["config.yaml"].splitlines()
    found["config.yaml"] = b"\n".join(line for line in lines if not line.startswith(b"results:"))
    return found


# A folder and its manifest


@pytest.fixture
def sealed(tmp_path):
    folder = tmp_path / "sealed"
    files.write_text(folder / "a.csv", "x,y\n1,2\n")
    files.write_text(folder / "b.json", "{}")
    files.write_text(folder / "inside" / "c.txt", "not of this folder")
    seals.seal(folder, "me")
    return folder


def test_whole_is_whole(sealed):
    assert seals.faults(sealed, "me") == []
    files.write_text(sealed / "more.txt", "a file that the manifest does not list is free")
    files.write_text(sealed / "inside" / "c.txt", "changed")
    assert seals.faults(sealed, "me") == []
    assert seals.faults(sealed / "inside", "me") == []  # never sealed: of an earlier version


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_is_found(sealed, bit):
    """Of the files, and of the manifest itself."""
    for name in ("a.csv", "b.json", seals.MANIFEST):
        whole = (sealed / name).read_bytes()
        meaning = json.loads(whole).items() if name == seals.MANIFEST else ()
        for place in range(len(whole)):
            broken = bytearray(whole)
            broken[place] ^= 1 << bit
            (sealed / name).write_bytes(broken)
            if not seals.faults(sealed, "me"):  # white space, or the name of the seal
                left = json.loads(broken).items()
                assert [each for each in meaning if each not in left and each[0] != "seal"] == []
        (sealed / name).write_bytes(whole)
    assert seals.faults(sealed, "me") == []


def test_faults_say_which_file(sealed):
    (sealed / "a.csv").unlink()
    flip(sealed / "b.json")
    assert seals.faults(sealed, "me") == ["a.csv is missing", "b.json is damaged"]
    assert seals.faults(sealed, "me", ["b.json"]) == ["b.json is damaged"]
    assert seals.faults(sealed, "you", []) == ["it is of me"]


@pytest.mark.parametrize("bit", range(8))
def test_a_sealed_json_file_is_whole_or_nothing(tmp_path, bit):
    path = tmp_path / "done.json"
    files.write_sealed(path, {"run": "a", "sha256": {}, "n": 1.5, "names": ("b", "c")})
    whole = path.read_bytes()
    meaning = records.read_done(tmp_path)
    assert meaning["names"] == ["b", "c"]
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << bit
        path.write_bytes(broken)
        assert records.read_done(tmp_path) in ({}, meaning), place


# A run


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return tmp_path_factory.mktemp("template")


@pytest.fixture
def finished(ask, figures, template, tmp_path):
    """A finished run. Trained once; every test gets a copy."""
    if (template / "results").exists():
        shutil.copytree(template / "results", tmp_path / "results")
    outcome = run.train(ask(), [])
    if not (template / "results").exists():
        shutil.copytree(tmp_path / "results", template / "results")
    figures.clear()
    return outcome


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*TABLES, seals.MANIFEST])
def test_a_damaged_evaluation_is_named_left_out_and_made_again(ask, finished, name, damage, capsys):
    before = numbers(finished.folder)
    damage(finished.evaluation / name)
    results = finished.folder.parents[1]
    assert plot.main(["--results", str(results)]) == 3
    line = capsys.readouterr().err
    assert line.startswith(f"lengthgen plot: run {finished.run_id}, evaluation ")
    assert name in line and line.count("\n") == 1
    assert plot.main(["--results", str(results), "--publish", "x"]) in (2, 3)
    assert not (results / "x").exists()
    with pytest.warns(UserWarning, match=name):
        assert load_results(results).empty
    assert run.train(ask(), []).status == "evaluated"
    assert numbers(finished.folder) == before
    assert not tables.collect(results).faults
    assert run.train(ask(), []).status == "nothing to do"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", OWN)
def test_damaged_files_of_a_run_are_named_and_made_again(ask, finished, name, damage, capsys):
    folder, before = finished.folder, numbers(finished.folder)
    sha256 = files.read_json(folder / "done.json")["weights_sha256"]
    damage(folder / name)
    gone = (name, damage) == ("done.json", Path.unlink)  # a run that is not finished
    assert plot.main(["--results", str(folder.parents[1])]) == (0 if gone else 3)
    assert gone or f"{name} is " in capsys.readouterr().err
    assert run.train(ask(), []).status in ("evaluated", "trained")
    assert numbers(folder) == before
    assert files.read_json(folder / "done.json")["weights_sha256"] == sha256
    assert run.train(ask(), []).status == "nothing to do"
    rewritten = "rewritten" in files.read_json(folder / "provenance.json")
    assert rewritten == (name == "provenance.json")


@pytest.mark.parametrize("name", ["config.yaml", "provenance.json"])
def test_a_damaged_run_is_not_evaluated_under_other_settings(ask, finished, name, config_of):
    flip(finished.folder / name)
    with pytest.raises(CheckpointError, match=f"{name} is damaged; rerun its training command"):
        run.evaluate(config_of(finished), [])


@pytest.fixture
def config_of(ask):
    from lengthgen.config import compose

    def configured(outcome, *overrides):
        words = [f"run={outcome.run_id}", "tracking=none", *overrides]
        return compose.compose(words, command="evaluate", results=outcome.folder.parents[1])

    return configured


def test_leftovers_and_copies_are_no_results(finished, capsys):
    results, here = finished.folder.parents[1], finished.evaluation
    rows = len(tables.collect(results).lengths)
    for name in (f"{here.name}.tmp-1", f".{here.name}.1.ab.tmp", f"{here.name}~", "a b"):
        shutil.copytree(here, here.with_name(name))
    assert len(tables.collect(results).lengths) == rows and not tables.collect(results).faults
    shutil.copytree(here, here.with_name(f"{here.name}-copy"))
    (fault,) = tables.collect(results).faults
    assert f"it is of {finished.run_id}/{here.name}" in fault.line
    shutil.rmtree(fault.evaluation)
    shutil.copytree(finished.folder, finished.folder.with_name("another"))
    (fault,) = tables.collect(results).faults
    assert fault.run == "another" and f"it is of {finished.run_id}/" in fault.line
    assert len(tables.collect(results).lengths) == rows


def test_copies_of_runs_without_seals_are_found_by_their_rows(tmp_path):
    write_runs(tmp_path, ("alibi",), (0, 1))
    first, second = sorted((tmp_path / "runs").iterdir())
    rows = len(tables.collect(tmp_path).lengths)
    (folder,) = (first / "evaluation").iterdir()
    shutil.copytree(folder, folder.with_name("zz"))
    shutil.copytree(folder, second / "evaluation" / "zz")
    repeated, foreign = tables.collect(tmp_path).faults
    assert f"it repeats evaluation {folder.name}" in repeated.line
    assert f"its rows are of run {first.name}" in foreign.line
    assert len(tables.collect(tmp_path).lengths) == rows


def test_one_damaged_run_does_not_stop_the_publication_of_others(ask, figures, capsys):
    one, other = run.train(ask(), []), run.train(ask(scheme="alibi"), [])
    results = one.folder.parents[1]
    flip(one.evaluation / "losses.npz")
    where = ["--results", str(results), "--publish", "x", "--where"]
    assert plot.main([*where, "scheme=t5_bias"]) == 3
    assert "nothing was published" in capsys.readouterr().err and not (results / "x").exists()
    assert plot.main([*where, f"run={one.run_id},{other.run_id}"]) == 3
    assert plot.main([*where, "scheme=alibi"]) == 0


def test_earlier_versions_wrote_no_seals(ask, finished):
    """Their runs are read as before, and sealed by the next command that does something."""
    about = files.read_json(finished.folder / "done.json")
    old = {key: about[key] for key in ("weights_sha256", "training", "evaluations")}
    files.write_json(finished.folder / "done.json", old)
    (finished.evaluation / seals.MANIFEST).unlink()
    assert not tables.collect(finished.folder.parents[1]).faults
    assert run.train(ask(), []).status == "nothing to do"
    assert run.train(ask(evaluation__documents=3), []).status == "evaluated"
    stored = records.run(finished.folder)
    assert len(stored.done["evaluations"]) == 2 and len(stored.done["sealed"]) == 1
    assert not stored.faults and not any(map(stored.faults_of, stored.evaluations))


# Figures


def test_figures_that_are_missing_are_drawn_by_the_same_command(ask, finished, figures):
    picture = finished.folder / "figures" / "a.png"
    for damage in DAMAGES:
        damage(picture)
        assert run.train(ask(), []).status == "drawn"
        assert run.train(ask(), []).status == "nothing to do"
    assert len(figures) == len(DAMAGES)


@pytest.mark.parametrize("stop", [OSError("no room"), KeyboardInterrupt(), ValueError("a label")])
def test_a_run_that_ended_before_its_figures_gets_them(ask, figures, monkeypatch, stop):
    def fail(folder, settings):
        raise stop

    with monkeypatch.context() as patch:
        patch.setattr(publish, "write_run_figures", fail)
        with pytest.raises(type(stop)):
            run.train(ask(), [])
    assert run.train(ask(), []).status == "drawn" and len(figures) == 1


def test_who_wants_no_figures_waits_for_none(ask, figures):
    assert run.train(ask(), [], figures=False).status == "trained"
    assert run.train(ask(), [], figures=False).status == "nothing to do" and not figures
    assert run.train(ask(), []).status == "drawn"


# Lengths that had no room


def test_a_length_that_had_no_room_is_tried_again(ask, figures, monkeypatch):
    real, room = evaluating.score, {"tokens": 40}

    def scored(model, store, requests, **how):
        fits = [each for each in requests if each.eval_length <= room["tokens"]]
        known = {one.request: one for one in real(model, store, fits, **how)}
        none = "one window of so many tokens does not fit in memory"
        return [known.get(each) or Scored(each, "oom", none, None) for each in requests]

    monkeypatch.setattr(evaluating, "score", scored)
    outcome = run.train(ask(), [])
    before = numbers(outcome.folder)
    assert b",oom," in before[f"evaluation/{outcome.evaluation.name}/lengths.csv"]
    assert run.train(ask(), []).status == "evaluated"  # tried in vain
    assert numbers(outcome.folder) == before
    room["tokens"] = 64
    run.train(ask(), [])
    assert (
        b",oom," not in numbers(outcome.folder)[f"evaluation/{outcome.evaluation.name}/lengths.csv"]
    )
    assert run.train(ask(), []).status == "nothing to do"


# Publications and studies


@pytest.fixture(scope="module")
def publication(tmp_path_factory):
    results = tmp_path_factory.mktemp("published") / "results"
    write_runs(results, ("t5_bias", "alibi"), (0, 1))
    assert plot.main(["--results", str(results), "--publish", "main"]) == 0
    return results


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["lengths.csv", "documents.csv", "positions.csv", "provenance.json", seals.MANIFEST]
)
def test_a_damaged_publication_is_named_and_not_drawn(publication, tmp_path, name, damage, capsys):
    results = tmp_path / "results"
    shutil.copytree(publication / "main", results / "main")
    before = contents(results / "main")
    damage(results / "main" / name)
    now = contents(results / "main")
    unsealed = (name, damage) == (seals.MANIFEST, Path.unlink)  # as earlier versions published
    assert plot.main(["--results", str(results)]) == (0 if unsealed else 3)
    assert unsealed or f"main: {name} is" in capsys.readouterr().err
    assert contents(results / "main") == (before if unsealed else now)


def test_a_changed_digit_is_found(publication, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(publication / "main", results / "main")
    table = results / "main" / "documents.csv"
    text = table.read_text()
    place = text.rindex("5")
    table.write_text(f"{text[:place]}6{text[place + 1 :]}")
    assert plot.main(["--results", str(results)]) == 3


def test_what_follows_from_the_tables_is_made_again(publication, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(publication / "main", results / "main")
    before = contents(results / "main")
    chance = np.random.default_rng(0)
    for name in before:
        if name.endswith((".png", ".svg", ".md")) or name == "summary.csv":
            chance.choice(DAMAGES)(results / "main" / name)
    assert plot.main(["--results", str(results)]) == 0
    assert contents(results / "main") == before


def test_a_publication_under_another_name_is_published_anew(publication, tmp_path, capsys):
    shutil.copytree(publication / "main", tmp_path / "results" / "copy")
    assert plot.main(["--results", str(tmp_path / "results")]) == 3
    assert "it is of main" in capsys.readouterr().err


COMMITTED = Path(__file__).parents[1] / "results"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["claims.csv", "values.csv", "study.json"])
def test_a_damaged_study_is_named_and_the_others_are_drawn(tmp_path, name, damage, monkeypatch):
    drawn, faults = [], []
    monkeypatch.setattr(report.page, "lines", lambda about, tables: drawn.append(about) or [])
    monkeypatch.setattr(report.drawing, "save", lambda *given: [])
    studies = tmp_path / "studies"
    for study in ("normalised_sinusoid", "home_sources"):
        shutil.copytree(COMMITTED / "studies" / study, studies / study)
        seals.seal(studies / study, study)
    damage(studies / "normalised_sinusoid" / name)
    report.write_all(tmp_path, faults.append)
    (line,) = faults
    assert line.startswith(f"study normalised_sinusoid: {name} is ") and len(drawn) == 1
    assert not (studies / "verdicts.csv").exists()


def test_what_is_committed_is_sealed_and_whole():
    publications = tables.published(COMMITTED)
    studies = [path.parent for path in (COMMITTED / "studies").glob("*/claims.csv")]
    assert len(publications) >= 5 and len(studies) >= 8
    for folder in (*publications, *studies):
        assert seals.is_sealed(folder), folder.name
        assert seals.faults(folder, folder.name) == []
    for folder in studies:
        study_folder.check(folder)


def test_the_code_that_a_run_was_trained_with_is_sealed(ask, tmp_path, figures):
    mine = tmp_path / "mine" / "scheme"
    mine.mkdir(parents=True)
    source = Path(__file__).parents[1] / "lengthgen" / "schemes" / "alibi.py"
    (mine / "slope.py").write_text(source.read_text().replace("ALiBi", "Slope"))
    options = {"scheme__name": "slope"}
    outcome = run.train(ask(scheme="alibi", **options), [mine.parent])
    assert "scheme/slope.py" in files.read_json(outcome.folder / "done.json")["sha256"]
    flip(outcome.folder / "scheme" / "slope.py")
    assert records.run(outcome.folder).faults == ["scheme/slope.py is damaged"]
    with pytest.raises(CheckpointError, match=r"scheme/slope\.py, which it was trained with"):
        RunFolder(outcome.folder).repair()
