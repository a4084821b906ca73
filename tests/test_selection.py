"""`--where KEY=VALUE ...`: which runs are meant, the same in every command that takes it."""

import builtins
import errno
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from lengthgen.cli import completion, main
from lengthgen.errors import ConfigError
from lengthgen.evaluation import records, selection

from .fake_runs import write_run, write_runs


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """alibi and t5_bias with two seeds, learned(tail=clamp) with one; one run is not finished."""
    folder = tmp_path_factory.mktemp("written") / "results"
    write_runs(folder, ("alibi", "t5_bias"), seeds=(0, 1), n_documents=8)
    write_run(folder, "learned(tail=clamp)", 0, n_documents=8)
    begun = folder / "runs" / "rope-512-s0-begun"
    begun.mkdir()
    (begun / "config.yaml").write_text(
        "scheme: {name: rope}\nmodifiers: {ssmax: {}}\ndataset: {name: files, label: mine}\n"
        "model: {name: tiny}\nseed: 7\ntrain_length: 512\nsteps: 9\n"
    )
    return folder


@pytest.fixture
def results(written, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(written, tmp_path / "results")


@pytest.fixture
def jobs(monkeypatch):
    """The evaluations that are called for: their configurations."""
    called = []
    stub = ModuleType("lengthgen.runs.run")

    def work(config, folders, begun=None):
        called.append(config)
        return SimpleNamespace(run_id=config.run, status="evaluated", evaluation=Path("none"))

    stub.train = stub.evaluate = work
    monkeypatch.setitem(sys.modules, "lengthgen.runs.run", stub)
    monkeypatch.setattr("lengthgen.runs.run", stub, raising=False)
    monkeypatch.setattr("lengthgen.runs.process.prepare_environment", lambda: None)
    monkeypatch.setattr("lengthgen.runs.before_torch.evaluate", lambda config, folders: None)
    return called


def names(*schemes, seeds=(0, 1)):
    return [f"{scheme}-512-s{seed}-1e234567" for scheme in schemes for seed in seeds]


# The words


def test_conditions_are_gathered_by_key():
    words = ["scheme=rope,t5_bias(num_buckets=64,max_distance=9)", "seed=0", "scheme=alibi"]
    assert selection.where(words) == {
        "scheme": ["rope", "t5_bias(num_buckets=64,max_distance=9)", "alibi"],
        "seed": ["0"],
    }


@pytest.mark.parametrize("word", ["", "scheme", "scheme=", "=rope", "colour=red"])
def test_what_is_no_condition_is_one_line(word):
    with pytest.raises(ConfigError, match="expected KEY=VALUE with KEY one of run, scheme, "):
        selection.where([word], "--where")
    with pytest.raises(ConfigError, match=r"\(nearest: scheme\)"):
        selection.where(["shceme=rope"])


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("rope", {"rope"}),
        ("rope*", {"rope", "rope+yarn(factor=4, beta=[1, 2])"}),
        ("*[1, 2]*", {"rope+yarn(factor=4, beta=[1, 2])"}),  # brackets stand for themselves
        ("rope+yarn(factor=4,beta=[1,2])", {"rope+yarn(factor=4, beta=[1, 2])"}),
        ("t?_bias", {"t5_bias"}),
        ("T5", {"t5_bias"}),
        ("rop", set()),
        ("*", {"rope", "t5_bias", "rope+yarn(factor=4, beta=[1, 2])"}),
    ],
)
def test_a_value_may_be_a_pattern_or_a_name_of_the_papers(pattern, chosen):
    known = ["rope", "t5_bias", "rope+yarn(factor=4, beta=[1, 2])"]
    assert selection.fitting("scheme", [pattern], known) == chosen


def test_names_of_the_papers_are_those_of_schemes_alone():
    assert selection.fitting("run", ["T5"], ["t5_bias"]) == set()


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({"scheme": ["alibi"]}, names("alibi")),
        ({"scheme": ["ALiBi"], "seed": ["1"]}, names("alibi", seeds=(1,))),
        ({"run": ["*-s0-*"], "train_length": ["512"], "scheme": ["*bi*"]},
         names("alibi", "t5_bias", seeds=(0,))),
        ({"scheme": ["learned(tail=clamp)"]}, ["learned-tail=clamp-512-s0-1e234567"]),
        ({"scheme": ["rope+ssmax"], "dataset": ["mine"], "steps": ["9"]}, ["rope-512-s0-begun"]),
    ],
)  # fmt: skip
def test_runs_fit_in_every_key(results, conditions, found):
    assert [run.name for run in selection.runs(results, conditions)] == found


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"scheme": ["alib"]}, "has scheme=alib; nearest: alibi; `lengthgen list runs`"),
        ({"seed": ["0", "9"]}, None),
        ({"seed": ["99"]}, "has seed=99; there are: 0, 1, 7; "),
        ({"scheme": ["alibi"], "seed": ["7"]}, "matches scheme=alibi seed=7 at once; "),
    ],
)
def test_no_run_says_what_there_is(results, conditions, says):
    if says is None:
        assert len(selection.runs(results, conditions)) == 3
        return
    with pytest.raises(ConfigError) as error:
        selection.runs(results, conditions)
    assert says in str(error.value)


def test_an_evaluation_that_cannot_be_read_hides_no_run(results):
    for path in results.glob("runs/alibi-512-s0-*/evaluation/*/lengths.csv"):
        path.write_bytes(b"\xff\xfe\x00")
    found = selection.runs(results, {"seed": ["0"]})
    assert names("alibi")[0] in [run.name for run in found]
    # Its label may have options that its configuration does not tell.
    found = selection.runs(results, {"scheme": ["alibi"]})
    assert [run.name for run in found] == names("alibi")[1:]


def test_what_the_disk_does_not_give_is_one_line(results, capsys, monkeypatch):
    opened = builtins.open

    def refuse(path, *given, **also):
        if Path(path).name == "lengths.csv":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(path, *given, **also)

    monkeypatch.setattr(builtins, "open", refuse)
    assert main.main(["list", "runs", "--where", "scheme=alibi"]) == 7
    told = capsys.readouterr().err
    assert "cannot read" in told and "lengths.csv" in told and told.count("\n") == 1


# One meaning in every command


def test_every_command_takes_the_same_runs(results, jobs, capsys, monkeypatch):
    where = ["--where", "scheme=T5,al*", "seed=0"]
    expected = names("alibi", "t5_bias", seeds=(0,))
    assert main.main(["list", "runs", *where]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert [name for name in listed if name.endswith("1e234567")] == expected
    assert main.main(["evaluate", *where, "+retrofit=log_n"]) == 0
    assert [config.run for config in jobs] == expected
    capsys.readouterr()
    assert main.main(["compare", "--csv", *where]) == 0
    rows = capsys.readouterr().out.splitlines()
    schemes = {row.split(",")[rows[0].split(",").index("scheme")] for row in rows[1:]}
    assert schemes == {"alibi", "t5_bias"}
    monkeypatch.setattr("lengthgen.reporting.publish._write_published", lambda *given: [])
    assert main.main(["plot", "--publish", "chosen", *where]) == 0  # the tables alone
    published = (results / "chosen" / "documents.csv").read_text().splitlines()[1:]
    assert sorted({row.split(",")[0] for row in published}) == expected


def test_evaluate_combines_the_runs_with_a_sweep(results, jobs, capsys):
    words = ["-m", "--where=scheme=alibi", "+retrofit=none,log_n", "evaluation.documents=4"]
    assert main.main(["evaluate", *words]) == 0
    found = [(config.run, (config.retrofit or {}).get("name")) for config in jobs]
    assert found == [(run, name) for run in names("alibi") for name in (None, "log_n")]
    assert {config.evaluation.documents for config in jobs} == {4}
    assert "job 4/4: run=alibi-512-s1-1e234567 retrofit=log_n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run=alibi-*"], names("alibi")),
        (["run=*-s1-*,learned*"],
         [*names("alibi", seeds=(1,)),
          *names("learned-tail=clamp", seeds=(0,)), *names("t5_bias", seeds=(1,))]),
        (["run=*", "--where", "scheme=t5_bias", "seed=1"], names("t5_bias", seeds=(1,))),
        (["--where", "seed=0", "--where", "run=a*"], names("alibi", seeds=(0,))),
        (["--where", "run=a*", "evaluation=quick"], names("alibi")),  # its own group
        (["run=results/runs/t5*"], names("t5_bias")),
    ],
)  # fmt: skip
def test_evaluate_takes_globs_of_ids(results, jobs, words, expected):
    assert main.main(["evaluate", *words]) == 0
    assert [config.run for config in jobs] == expected


def test_ids_with_signs_of_hydra_are_quoted(results, jobs):
    for name in ("x(a=1,b)", "it's"):
        (results / "runs" / names("alibi")[0]).rename(results / "runs" / name)
        assert main.main(["evaluate", f"run={name[:2]}*"]) == 0
        (results / "runs" / name).rename(results / "runs" / names("alibi")[0])
    assert [config.run for config in jobs] == ["x(a=1,b)", "it's"]


def test_what_is_not_finished_is_left_out_and_named(results, jobs, capsys):
    (results / "runs" / names("alibi")[1] / "done.json").unlink()
    assert main.main(["evaluate", "--where", "scheme=alibi"]) == 0
    assert [config.run for config in jobs] == names("alibi")[:1]
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and f"left out: {names('alibi')[1]}" in told


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("evaluate --where scheme=rope+ssmax", 4, "matches 1 runs, and none is a finished"),
        ("evaluate --where", 2, "expected KEY=VALUE"),
        ("evaluate --where scheme=alibi --cfg job", 2, "chooses 2 runs, and a configuration"),
        ("evaluate run=alibi --where seed=0", 2, "run=alibi names its run"),
        ("evaluate --where seed=0 model=hf:x", 2, "model= names a pretrained model"),
        ("evaluate --where seed=0 results=[a]", 2, "expected one folder"),
        ("evaluate run=zz*", 2, "has run=zz*"),
        ("train --where scheme=alibi", 2, "a flag of evaluate, compare, list runs and plot"),
        ("list schemes --where scheme=alibi", 2, "expected list runs --where"),
        ("list runs --where scheme=alib", 2, "nearest: alibi"),
    ],
)
def test_mistakes_are_one_line(results, jobs, capsys, command, code, says):
    assert main.main(command.split()) == code
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1 and jobs == []


@pytest.mark.slow
def test_all_seeds_are_really_evaluated_under_a_retrofit(ask, capsys):
    """And what was trained stands beside it in the table at the end."""
    from lengthgen.runs import run

    small = {"evaluation__lengths": [16, 32], "evaluation__protocols": ["matched"]}
    for seed in (0, 1):
        trained = run.train(ask(scheme="rope", seed=seed, **small), [], figures=False)
    folder = trained.folder.parents[1]
    words = [
        "+retrofit=position_interpolation", "retrofit.factor=2", f"results={folder}",
        f"cache={folder.parent.parent / 'cache'}", "tracking=none", "evaluation.lengths=[16,32]",
        "evaluation.protocols=[matched]", "evaluation.documents=4", "evaluation.blocks=2",
        "evaluation.resamples=50",
    ]  # fmt: skip
    assert main.main(["evaluate", "--where", "scheme=rope", *words]) == 0
    table = capsys.readouterr().out.split("job  run")[1]
    assert table.count("2 seeds") == 2 and "\nrope " in table
    assert "\n  +position_interpolation" in table  # below its scheme
    assert main.main(["evaluate", "run=rope-*", *words]) == 0
    assert capsys.readouterr().out.count("nothing to do") >= 2


def test_evaluate_looks_where_results_says(results, jobs, tmp_path):
    (tmp_path / "results").rename(tmp_path / "an other")
    assert main.main(["evaluate", "--where", "scheme=alibi", "results='an other'"]) == 0
    assert [config.run for config in jobs] == names("alibi")


def test_the_help_of_evaluate_names_the_flag(capsys):
    assert main.main(["evaluate", "--help"]) == 0
    assert "--where" in capsys.readouterr().out
    assert main.main(["train", "--help"]) == 0
    assert "--where" not in capsys.readouterr().out


# Completion


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("evaluate run=al", [f"run={name}" for name in names("alibi")]),
        ("decide run=t5_bias-512-s1", [f"run={name}" for name in names("t5_bias", seeds=(1,))]),
        ("export run=ro", ["run=rope-512-s0-begun"]),
        ("evaluate -m run=x,al", [f"run=x,{name}" for name in names("alibi")]),
        ("evaluate --wh", ["--where "]),
        ("train --wh", []),
        ("evaluate --where ", [f"{key}=" for key in records.IDENTITY]),
        ("compare --where sch", ["scheme="]),
        ("compare --where scheme=alibi,t", ["scheme=alibi,t5_bias"]),
        ("compare --where scheme=alibi seed=", ["seed=0", "seed=1", "seed=7"]),
        ("list runs --where scheme=rope", ["scheme=rope+ssmax"]),
        ("plot --publish x --reference-where train_length=", ["train_length=512"]),
        ("evaluate --where scheme=alibi +retrofit=ya", ["+retrofit=yarn", "+retrofit=yarn_paper"]),
        ("compare --where colour=", []),
        ("compare --j", ["--json "]),
        ("decide --lat", ["--latency "]),
        ("list runs --pro", ["--profile "]),
        ("compare --results elsewhere --where run=", []),
    ],
)
def test_run_ids_and_conditions_are_completed(results, typed, offered):
    commands = [command.name for command in main.COMMANDS]
    assert completion.candidates(f"lengthgen {typed}", commands) == offered


def test_run_ids_of_another_folder_are_completed(results, tmp_path):
    (tmp_path / "results").rename(tmp_path / "there")
    for line in ("evaluate results=there run=al", "decide --results there run=al"):
        found = completion.candidates(f"lengthgen {line}", ["evaluate", "decide"])
        assert found == [f"run={name}" for name in names("alibi")]
