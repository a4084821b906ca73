"""Words of a user in names of folders and files: none leads out of the tree or breaks a reader."""

import json
from pathlib import Path

import pytest

import lengthgen
from lengthgen import tracking
from lengthgen.cli import main
from lengthgen.config import paths
from lengthgen.data.splits import default_cache
from lengthgen.errors import ConfigError
from lengthgen.evaluation import records
from lengthgen.runs import identity
from lengthgen.runs.folder import RunFolder

TINY = [
    *("scheme=none", "model=nano", "model.width=16", "model.n_layers=1", "train_length=16"),
    *("steps=2", "batch_size=2", "validate_every=0", "evaluation=quick", "threads=1"),
    *("evaluation.documents=4", "dataset=files", "dataset.path=text", "cache=cache"),
]
LABELS = [
    *("../../../esc", "a/b", "/tmp/esc", "..", ".", "a\\..\\b", "%2e%2e%2fesc", "~/esc", "$HOME"),
    *("x" * 300, "語" * 300, "a:b", "a#b", "a?b", "a%b", "a b", "a\tb", "a\nb", "a\0b"),
    *("\u202egnp.exe", "a\u2066b", "\ud800", "<script>", "a|b", "a*b", "'a'", '"a"', "`a`"),
    *("$(a)", "a;b", "-rf", " ", "con.", "{a}", "a&b", "e\u0301" * 40, "\U0001f600"),
]


def quoted(text: str) -> str:
    """As a quoted string of Hydra's overrides."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@pytest.fixture
def here(tmp_path, monkeypatch):
    work = tmp_path / "above" / "work"
    (work / "text").mkdir(parents=True)
    for number in range(20):
        (work / "text" / f"{number}.txt").write_text(f"a quick brown fox, number {number}. " * 30)
    monkeypatch.chdir(work)
    return work


def configuration(name="none", model="tiny", length=512, seed=0):
    from types import SimpleNamespace

    settings = SimpleNamespace(train_length=length, seed=seed)
    return SimpleNamespace(name=name, model_name=model, settings=settings)


@pytest.mark.parametrize("label", LABELS, ids=ascii)
def test_an_id_is_the_name_of_one_folder(label, tmp_path):
    ids = {
        identity.run_id(configuration(), {"data": {"label": label}}),
        identity.run_id(configuration(model=label), {"data": {"label": "python"}}),
        identity.run_id(configuration("+".join(["window"] * 30)), {"data": {"label": label}}),
    }
    assert len(ids) == 3
    for each in ids:
        assert len(each.encode()) < 200 and set(each).isdisjoint("/\\#?%:*<>|&;$`'\"~{} \t\n\0")
        assert each.isprintable() and Path(each).name == each
        folder = tmp_path / each
        folder.mkdir()
        assert folder.resolve().parent == tmp_path.resolve()
    shown = identity.shown(label)
    assert shown.isprintable() and 0 < len(shown) <= 64 and shown.encode()
    assert identity.shown(shown) == shown and identity.word(shown) == identity.word(label)


@pytest.mark.parametrize(
    ("name", "label", "model"),
    [
        ("t5_bias", "python", "tiny"),
        ("rope+window+ssmax", "fineweb-edu_10BT", "gpt2"),
        ("fire(x=1,y=2)", "lag_copy.v1", "my+model"),
        ("none", "wikitext-103-raw-v1", "a" * 64),
        ("none", "données", "中文"),
    ],
)
def test_ids_of_plain_words_are_as_they_were(name, label, model):
    found = identity.run_id(configuration(name, model), {"data": {"label": label}})
    assert found.rpartition("-")[0] == f"{name}-{label}-{model}-L512-s0"


def test_words_that_are_cleaned_alike_are_two_runs():
    ids = [identity.run_id(configuration(), {"data": {"label": x}}) for x in ("a/b", "a:b", "a_b")]
    assert len(set(ids)) == 3 and len({each.rpartition("-")[0] for each in ids}) == 1


@pytest.mark.parametrize("label", ["../../../esc", "x" * 300, "a:b#c?d\u202ee", "a\0b"])
def test_a_run_of_any_label_stays_inside_and_is_read(label, here, capsys):
    words = [f"model.name={quoted(label)}", f"dataset.label={quoted(label)}", "tracking=none"]
    if "\0" in label:  # no command line can hold it
        config = lengthgen.compose([*TINY, "tracking=none"])
        config.model.name = config.dataset.label = label
        lengthgen.train(config)
    else:
        assert main.main(["train", *TINY, *words]) == 0
    assert sorted(path.name for path in here.iterdir()) == ["cache", "results", "text"]
    assert [path.name for path in here.parent.iterdir()] == ["work"]
    (run,) = records.runs("results")
    assert run.status == "done" and list((run.folder / "figures").glob("*.png"))
    capsys.readouterr()
    assert main.main(["list", "runs"]) == 0 and run.name in capsys.readouterr().out
    assert main.main(["plot"]) == 0
    assert len(list(Path("results/figures").glob("*.png"))) >= 1
    assert main.main(["plot", "--publish", "main"]) == 0
    assert (Path("results/main") / "summary.md").is_file()
    words = ["evaluation.lengths=[16,24]", "evaluation.documents=4", "tracking=none", "threads=1"]
    assert main.main(["evaluate", f"run={run.name}", *words]) == 0
    assert lengthgen.load_run(run.name).config.model.name


@pytest.mark.parametrize("label", ["../../../esc", "x" * 300, "a:b#c?d%e"])
def test_wandb_takes_a_run_of_any_label(label, here, capsys):
    words = [f"model.name={quoted(label)}", f"dataset.label={quoted(label)}"]
    assert main.main(["train", *TINY, *words, "tracking.finish_timeout=60"]) == 0
    output = capsys.readouterr().out
    (run,) = records.runs("results")
    assert "tracking is off" not in output and "W&B run" in output
    assert list(run.folder.glob("wandb/offline-run-*/run-*.wandb"))


def test_what_a_tracker_is_told_is_short(monkeypatch):
    seen = []

    class Silent(tracking.Backend):
        def __init__(self, config, description):
            super().__init__(config, description)
            seen.append(description)

    monkeypatch.setitem(tracking.BACKENDS, "none", Silent)
    for end in ("0", "1"):
        words = {"id": "x" * 199 + end, "name": "n" * 400, "group": "g" * 400}
        described = tracking.RunDescription(
            **words, job_type="train", tags=(), config={}, folder=Path(".")
        )
        tracking.start({"name": "none"}, described)
    for description in seen:
        for text in (description.id, description.name, description.group):
            assert 0 < len(text) <= 128
    assert seen[0].id != seen[1].id


# Folders that a user names


@pytest.mark.parametrize("key", ["results", "cache"])
@pytest.mark.parametrize("value", ["''", "' '", "~nobody_of_that_name/x", "x" * 5000])
def test_a_folder_without_a_name_is_refused(key, value, here, capsys):
    for words in ([], ["-m", "seed=0,1"]):
        assert main.main(["train", *TINY, "tracking=none", f"{key}={value}", *words]) in (1, 2)
        error = capsys.readouterr().err
        assert f"{key}=" in error and "Traceback" not in error
    assert not (here / "results" / "runs").exists() and not Path("~").exists()


@pytest.mark.parametrize("command", ["plot", "list runs", "study demo", "evaluate run=x"])
def test_so_it_is_for_every_command(command, here, capsys):
    words = command.split()
    given = ["results=''"] if words[0] == "evaluate" else ["--results", ""]
    assert main.main([*words, *given]) == 2
    assert "expected the name of a folder" in capsys.readouterr().err


def test_home_means_the_same_everywhere(here, monkeypatch, capsys):
    home = here.parent / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (here / "text").rename(home / "text")
    words = [word.replace("path=text", "path=~/text") for word in TINY]
    words = [word.replace("cache=cache", "cache=~/cache") for word in words]
    words += ["tracking=none", "results=~/r"]
    assert main.main(["train", *words]) == 0
    assert main.main(["train", "-m", "seed=0,1", *words]) == 0
    # Other libraries keep their own in hidden folders there, as matplotlib its list of fonts.
    assert sorted(path.name for path in home.glob("[!.]*")) == ["cache", "r", "text"]
    assert list(here.iterdir()) == []
    capsys.readouterr()
    assert main.main(["list", "runs", "--results", "~/r"]) == 0
    assert capsys.readouterr().out.count("none ") >= 2
    runs = records.runs(home / "r")
    asked = ["evaluate", f"run={runs[0].name}", "evaluation.lengths=[16,24]", "results=~/r"]
    assert main.main([*asked, "tracking=none", "cache=~/cache"]) == 0
    assert main.main(["evaluate", f"run=~/r/runs/{runs[0].name}", *asked[2:], "tracking=none"]) == 0
    assert main.main(["plot", "--results", "~/r"]) == 0
    assert main.main(["plot", "--results", "~/r", "--publish", "main"]) == 0
    assert (home / "r" / "main" / "lengths.csv").is_file()
    assert lengthgen.load_run(runs[0].name, "~/r").folder == home / "r" / "runs" / runs[0].name
    assert not lengthgen.load_results("~/r").empty
    assert list((home / "r" / "sweeps").iterdir()) and list(here.iterdir()) == []
    monkeypatch.setenv("LENGTHGEN_CACHE", "~/elsewhere")
    assert default_cache() == home / "elsewhere"


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/b", "..", "", "runs", ".x", "x\0", "~", "-x"]
)
def test_what_is_published_has_a_name(name, here, capsys):
    assert main.main(["plot", f"--publish={name}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(here.parent.glob("x*")) and not Path("results").exists()


def test_folders():
    assert paths.folder("a b/c", "results") == Path("a b/c")
    assert paths.folder("~/x", "results") == Path.home() / "x"
    for text in ("", " ", "\0", "a\0b", "x" * 4001):
        with pytest.raises(ConfigError, match="results="):
            paths.folder(text, "results")


def test_a_retrofits_code_is_no_path(tmp_path):
    """settings.json of a received evaluation names the folder of its code."""
    from lengthgen.runs import stored

    evaluation = RunFolder(tmp_path).evaluation("x")
    evaluation.mkdir(parents=True)
    about = {"origin": {"retrofit": {"name": "yarn", "code": "../../../evil"}}}
    (evaluation / "settings.json").write_text(json.dumps(about))
    with pytest.raises(ConfigError, match="expected a name"):
        stored.evaluated_model(evaluation)
