"""Registrations: refused, stored, renewed after a change, and the verdicts that stay."""

import json
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lengthgen import files
from lengthgen.cli import main
from lengthgen.errors import ConfigError
from lengthgen.studies import conduct, declaration, history, registration, report, study_folder
from tests.study_cases import MINE, write_mine


def digest(path: Path, text: str, overrides: tuple[str, ...] = ()) -> str:
    path.write_text(text)
    study = declaration.read(path)
    return registration.digest(study, study.scale(None)[1], overrides)


CHANGES = {
    "arm": ("t5_bias: [scheme=t5_bias]", "t5_bias: [scheme=t5_bias, scheme.num_buckets=8]"),
    "base": ("steps=2", "steps=3"),
    "seeds": ("{seeds: 2}", "{seeds: 3}"),
    "condition": ("retrofit.tail=wrap", "retrofit.tail=clamp"),
    "sign": ("predict: below 0", "predict: above 0"),
    "threshold": ("predict: below 0", "predict: below 0.1"),
    "length": ("length_factor: 4", "length_factor: 2"),
    "primary": ("length_factor: 4", "length_factor: 4\n    primary: true"),
    "precondition": ("length_factor: 4", "length_factor: 4\n    needs: [gradient]"),
    "check": ("show: excess", "show: excess\ncheck: true"),
    "grid": ("show: excess", "show: excess\ngrid: {optim.lr: [1e-3, 2e-3], arms: [learned]}"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_is_in_the_hash(tmp_path, change):
    text = MINE.replace("  - model=nano", "  - model=nano\n  - optim.lr=1e-3")
    before, after = CHANGES[change]
    assert before in text
    path = tmp_path / "mine.yaml"
    assert digest(path, text) != digest(path, text.replace(before, after))


def test_what_does_not_decide_is_not_in_the_hash(tmp_path):
    path = tmp_path / "mine.yaml"
    one = digest(path, MINE)
    arms = "  learned: [scheme=learned]\n  t5_bias: [scheme=t5_bias]\n"
    swapped = "  t5_bias: [scheme=t5_bias]  # a comment\n  learned: [scheme=learned]\n"
    assert arms in MINE
    for text in (
        MINE.replace(arms, swapped),
        MINE.replace("# Do rows", "# Does any row"),
        MINE.replace("claim: untrained", "claim: far out, untrained"),
        MINE.replace("show: excess", "show: loss"),
        MINE.replace("  small: {seeds: 2}", "  small: {seeds: 2}\n  full: {seeds: 9}"),
        MINE.replace("  - batch_size=2\n  - steps=2\n", "  - steps=2\n  - batch_size=2\n"),
    ):
        assert text != MINE and digest(path, text) == one
    assert digest(path, MINE, ("device=cuda", "threads=2", "cache=x")) == one
    assert digest(path, MINE, ("steps=7",)) != one


def test_the_hash_of_a_declaration_stays_what_it_was(tmp_path):
    """Another value here refuses every registration that there is: keep them readable instead."""
    assert digest(tmp_path / "mine.yaml", MINE) == "d62078ada7e8"


@pytest.fixture
def asked(tmp_path):
    """(options, the study's file, read anew)."""
    path = write_mine(tmp_path)

    def options(**given) -> conduct.Options:
        fine = dict.fromkeys(("scale", "seeds", "config_dir"))
        fine |= {"workers": 1, "results": tmp_path / "results", "overrides": ()}
        return conduct.Options(**(fine | given))

    return options, path


def test_a_study_without_a_registration_is_refused_in_one_line(asked):
    options, path = asked
    study = declaration.read(path)
    with pytest.raises(ConfigError, match=r"study mine: not registered, hash now \w+; ") as raised:
        options().registered(study)
    said = str(raised.value)
    assert "`lengthgen study mine --register`" in said and "--unregistered" in said
    assert "\n" not in said
    assert options(unregistered=True).registered(study) == ("mine-unregistered", None)


def test_a_registration_holds_who_what_and_when_and_is_read_back(asked, tmp_path):
    options, path = asked
    study = declaration.read(path)
    made = options().register(study, path)
    assert (made.number, made.label, made.declaration) == (1, "mine", path.read_text())
    assert made.registered.startswith("20") and len(made.hash) == 12
    stored = tmp_path / "results" / "registrations" / "mine" / "1.yaml"
    before = stored.read_bytes()
    assert options().register(study, path) == made and stored.read_bytes() == before
    assert options().registered(study) == ("mine", made)
    # Another scale, other seeds or an override that decides are other registrations.
    for other in ({"seeds": 7}, {"overrides": ("steps=7",)}):
        with pytest.raises(ConfigError, match="registered"):
            options(**other).registered(study)
    assert options(overrides=("device=cpu",)).registered(study) == ("mine", made)


def test_a_changed_declaration_is_a_new_registration(asked, tmp_path):
    options, path = asked
    options().register(declaration.read(path), path)
    declared = json.loads(path.read_text())
    declared["claims"]["c"]["predict"] = "above 1"
    path.write_text(json.dumps(declared))
    changed = declaration.read(path)
    with pytest.raises(ConfigError, match="study mine: changed since registration 1 "):
        options().registered(changed)
    assert options().register(changed, path).number == 2
    numbers = [one.number for one in registration.read(tmp_path / "results", "mine")]
    assert numbers == [1, 2]
    assert options().registered(changed)[1].number == 2
    (tmp_path / "results" / "registrations" / "mine" / "2.yaml").write_text("study: mine\n")
    with pytest.raises(ConfigError, match=r"2\.yaml: no registration"):
        options().registered(changed)


def test_the_commit_says_whether_it_holds_the_declaration(asked, tmp_path):
    options, path = asked
    study = declaration.read(path)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "mine.yaml"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    made = options().register(study, path)
    assert (made.commit, made.committed) == (head.stdout.strip(), True)
    path.write_text(path.read_text() + " ")
    assert not options(seeds=9).register(study, path).committed


def test_runs_that_are_older_than_the_registration_are_named(asked, tmp_path):
    options, path = asked
    made = options().register(declaration.read(path), path)
    moment, instant = datetime.fromisoformat(made.registered), timedelta(milliseconds=1)
    started = {
        "old": "2020-01-01T00:00:00Z",
        "in the same second": (moment - instant).isoformat(timespec="milliseconds"),
        "new": "2999-01-01T00:00:00Z",
        "unknown": None,
    }
    used = []
    for name, when in started.items():
        folder = tmp_path / "runs" / name
        files.write_text(folder / "config.yaml", "a: 1\n")
        files.write_json(folder / "provenance.json", {"started": when} if when else {})
        used.append(folder)
    about = history.standing(made, [], used) | {"runs": list(started)}
    assert about["known_before"] == ["in the same second", "old", "unknown"]
    assert about["runs_before"] == 3
    assert "3 of 4 runs are older than it" in history.sentence(about)
    younger = history.standing(made, [], used[2:3]) | {"runs": ["new"]}
    assert history.sentence(younger).startswith("declared before the runs (registration 1 of 20")
    assert history.sentence(history.standing(None, [], used)).startswith("not registered: a pilot")
    assert "before registrations were kept" in history.sentence({})


def test_earlier_verdicts_stay_when_the_declaration_changes(tmp_path, capsys):
    mine, results = tmp_path / "mine", tmp_path / "results"
    (mine / "study").mkdir(parents=True)
    path = mine / "study" / "mine.yaml"
    command = ["study", "mine", "--config-dir", str(mine), "--results", str(results)]
    command += ["--workers", "1", f"cache={tmp_path / 'cache'}"]
    folder = results / "studies" / "mine"

    path.write_text(MINE)
    assert main.main([*command, "--register"]) == 0 and main.main(command) == 0
    changed = MINE.replace("predict: below 0\n", "predict: above 100\n")
    path.write_text(changed)
    assert main.main(command) == 2
    assert "changed since registration 1" in capsys.readouterr().err
    assert main.main([*command, "--register"]) == 0 and main.main(command) == 0
    earlier = study_folder.read(folder / "earlier.csv")
    assert {row["registration"] for row in earlier} == {"1"}
    assert [row["predict"] for row in earlier if row["name"] == "far"] == ["below 0"]
    about = files.read_json(folder / "study.json")
    # The runs were made under the first registration: the second cannot be older than they are.
    assert about["registration"]["number"] == 2 and about["runs_before"] == 4
    summary, log = (folder / "summary.md").read_text(), (folder.parent / "README.md").read_text()
    assert "## Earlier verdicts" in summary and "declared before the runs" not in summary
    assert "| mine | 1 |" in log and "| mine | 2 |" in log and "4 of 4 runs are older" in log
    # Back to the first declaration: its registration stands, the other verdicts are the earlier.
    path.write_text(MINE)
    assert main.main(command) == 0
    earlier = study_folder.read(folder / "earlier.csv")
    assert [row["predict"] for row in earlier if row["name"] == "far"] == ["above 100"]
    assert "declared before the runs (registration 1" in (folder / "summary.md").read_text()

    path.write_text(MINE.replace("steps=2", "steps=3"))
    assert main.main([*command, "--unregistered"]) == 0
    out = capsys.readouterr().out
    assert "not registered: a pilot" in out
    pilot = results / "studies" / "mine-unregistered" / "summary.md"
    assert "not registered: a pilot, which tests nothing" in pilot.read_text()
    assert report.write_all(results)
    assert main.main(["list", "studies", "--config-dir", str(mine), "--results", str(results)]) == 0
    assert "changed since registration 2" in capsys.readouterr().out
