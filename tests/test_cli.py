"""The command line: literal and malformed commands, sweeps, completion. Training is a stub."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from omegaconf import OmegaConf

import lengthgen
from lengthgen.cli import completion, listing, main, sweep
from lengthgen.config import catalogue, command_line, messages
from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError, DataError, Interrupted

ROOT = Path(__file__).parent.parent
GROUPS = [group.name for group in catalogue.groups("train")]


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    """lengthgen.runs.run is a stub, in an empty folder; the configurations of its calls."""
    called = []

    def work(config, own, begun=None):
        called.append(SimpleNamespace(config=config, folders=own, argv=list(sys.argv)))
        failure = FAILURES.get(config.get("seed"))
        if failure is not None:
            raise failure
        return SimpleNamespace(
            run_id=f"run-{len(called)}",
            folder=Path("results/runs"),
            status="trained",
            evaluation=Path("results/runs/evaluation/00123456"),
        )

    stub = ModuleType("lengthgen.runs.run")
    stub.train = stub.evaluate = work
    monkeypatch.setitem(sys.modules, "lengthgen.runs.run", stub)
    monkeypatch.setattr("lengthgen.runs.run", stub, raising=False)
    monkeypatch.setattr("lengthgen.runs.process.prepare_environment", lambda: None)
    for name in ("train", "evaluate", "pretrained"):  # which would look for the code and the run
        monkeypatch.setattr(f"lengthgen.runs.before_torch.{name}", lambda config, folders: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    return called


FAILURES = {
    11: DataError("no text in x; give another folder"),
    12: Interrupted("stopped at step 3 of 9", signal.SIGINT),
    13: ZeroDivisionError("a fault of lengthgen"),
    14: KeyboardInterrupt(),
    15: BrokenPipeError(),
}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# The literal commands


@pytest.mark.parametrize(
    "argv", [["+scheme=alibi"], ["scheme=alibi"], ["++scheme=alibi"], ["seed=0", "+scheme=alibi"]]
)
def test_train_with_and_without_plus(jobs, tmp_path, argv, capsys):
    assert main.main(["train", *argv]) == 0
    assert jobs[0].config.scheme.name == "alibi"
    assert jobs[0].folders == []
    assert "hydra" not in jobs[0].config
    assert files(tmp_path) == []  # Hydra makes no folder of its own
    assert capsys.readouterr().err == ""


def test_train_by_default(jobs):
    assert main.main(["train"]) == 0
    assert [jobs[0].config[group].name for group in ("scheme", "model", "dataset")] == [
        "t5_bias",
        "tiny",
        "python",
    ]


def test_provenance_can_see_the_command_as_given(jobs):
    before = list(sys.argv)
    main.main(["train", "+scheme=alibi", "-m", "seed=1,2"])
    assert jobs[0].argv == ["lengthgen", "train", "+scheme=alibi", "-m", "seed=1,2"]
    assert sys.argv == before
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_sweep(jobs, tmp_path, capsys):
    assert main.main(["train", "-m", "+scheme=learned,t5_bias,alibi", "seed=0,1,2"]) == 0
    wanted = [(scheme, seed) for scheme in ("learned", "t5_bias", "alibi") for seed in (0, 1, 2)]
    assert [(job.config.scheme.name, job.config.seed) for job in jobs] == wanted
    printed = capsys.readouterr().out
    assert "job 3/9: scheme=learned seed=2" in printed
    assert printed.splitlines()[-1].split() == ["9/9", "run-9", "trained", "scheme=alibi", "seed=2"]
    names = {Path(name).name for name in files(tmp_path)}
    assert names == {"multirun.yaml", *(f"job-{n}.json" for n in range(1, 10))}
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["sweeps"]


@pytest.mark.parametrize(
    "argv",
    [
        ["+scheme=rope,alibi", "-m", "seed=1"],
        ["scheme=choice(rope,alibi)", "seed=range(1,2)", "--multirun"],
    ],
)
def test_sweep_with_the_flag_anywhere(jobs, argv):
    assert main.main(["train", *argv]) == 0
    assert [(job.config.scheme.name, job.config.seed) for job in jobs] == [
        ("rope", 1),
        ("alibi", 1),
    ]


def test_sweep_over_all_schemes(jobs):
    assert main.main(["train", "-m", "+scheme=glob(kerple*)"]) == 0
    swept = [
        option
        for option in catalogue.options("scheme", catalogue.folders())
        if option.startswith("kerple")
    ]
    assert len(jobs) == len(swept) >= 2 and {job.config.scheme.name for job in jobs} == {
        "kerple_log",
        "kerple_power",
    }


def test_an_experiment_brings_its_sweep(jobs, capsys):
    assert main.main(["train", "-m", "+experiment=demo"]) == 0
    assert [job.config.scheme.name for job in jobs] == ["learned", "alibi", "t5_bias"]
    assert {job.config.dataset.name for job in jobs} == {"lag_copy"}
    assert "job 3/3: scheme=t5_bias" in capsys.readouterr().out
    jobs.clear()
    # what is given on the command line goes before it, and is swept with it
    assert main.main(["train", "-m", "+experiment=demo", "scheme=rope", "seed=1,2"]) == 0
    assert [(job.config.scheme.name, job.config.seed) for job in jobs] == [("rope", 1), ("rope", 2)]
    jobs.clear()
    assert main.main(["train", "-m", "+experiment=demo", "seed=1,2"]) == 0
    assert len(jobs) == 6
    jobs.clear()
    assert main.main(["train", "+experiment=demo", "scheme=alibi"]) == 0
    assert [job.config.train_length for job in jobs] == [64]


def test_an_experiment_with_a_mistake_beside_it_is_one_line(jobs, capsys):
    assert main.main(["train", "-m", "+experiment=demo", "stps=3"]) == ConfigError.exit_code
    assert "no key 'stps'; nearest: steps" in capsys.readouterr().err and not jobs


def test_sweep_goes_where_results_go(jobs, tmp_path):
    assert main.main(["train", "-m", "seed=1,2", "results='an other, place'"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["an other, place"]


def test_evaluate(jobs):
    assert main.main(["evaluate", "run=t5", "evaluation.lengths=[512,1024]"]) == 0
    assert jobs[0].config.run == "t5"
    assert list(jobs[0].config.evaluation.lengths) == [512, 1024]


@pytest.mark.parametrize(
    "argv",
    [["+modifier=[window,ssmax]"], ["modifier=[window,ssmax]"], ["++modifier=[window,ssmax]"]],
)
def test_modifiers_with_and_without_plus(jobs, argv):
    assert main.main(["train", *argv, "modifiers.window.window=7"]) == 0
    assert jobs[0].config.modifiers.window.window == 7
    assert set(jobs[0].config.modifiers) == {"window", "ssmax"}


def test_sweep_of_modifiers(jobs, capsys):
    assert main.main(["train", "-m", "+modifier=none,ssmax,[window,ssmax]", "seed=1"]) == 0
    assert [sorted(job.config.modifiers) for job in jobs] == [[], ["ssmax"], ["ssmax", "window"]]
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        "3/3",
        "run-3",
        "trained",
        "modifier=[window,ssmax]",
    ]


@pytest.mark.parametrize("argv", [["+retrofit=log_n"], ["retrofit=log_n"]])
def test_retrofit_with_and_without_plus(jobs, argv):
    assert main.main(["evaluate", "run=rope+ssmax-1f3a", *argv, "retrofit.length=64"]) == 0
    assert jobs[0].config.run == "rope+ssmax-1f3a"
    assert jobs[0].config.retrofit == {"name": "log_n", "length": 64, "scales": "all"}


def test_sweep_of_retrofits(jobs):
    assert main.main(["evaluate", "-m", "run=x", "+retrofit=none,log_n,hard_window"]) == 0
    assert [(job.config.get("retrofit") or {}).get("name") for job in jobs] == [
        None,
        "log_n",
        "hard_window",
    ]


@pytest.mark.parametrize("argv", [["+diagnostics=all"], ["diagnostics=all"]])
def test_diagnostics_with_and_without_plus(jobs, argv):
    assert (
        main.main(["evaluate", "run=x", *argv, "diagnostics.which=[probes]", "+retrofit=log_n"])
        == 0
    )
    assert jobs[0].config.diagnostics == {
        "name": "all",
        "which": ["probes"],
        "windows": 4,
        "documents": 16,
        "factors": None,
    }
    assert jobs[0].config.retrofit.name == "log_n"


def test_own_modifiers_and_retrofits(jobs, tmp_path):
    for kind in ("modifier", "retrofit"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    (tmp_path / "mine" / "modifier" / "mine.yaml").write_text(
        "# @package modifiers.mine\nstrength: 1.0\n"
    )
    (tmp_path / "mine" / "retrofit" / "mine.yaml").write_text("name: mine\nstrength: 1.0\n")
    assert (
        main.main(["train", "--config-dir", "mine", "+modifier=mine", "modifiers.mine.strength=2"])
        == 0
    )
    assert main.main(["evaluate", "--config-dir", "mine", "run=x", "+retrofit=mine"]) == 0
    assert (
        jobs[0].config.modifiers == {"mine": {"strength": 2}}
        and jobs[1].config.retrofit.name == "mine"
    )
    assert jobs[0].folders == jobs[1].folders == [tmp_path / "mine"]


def test_cfg_prints_and_runs_nothing(jobs, capsys, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert main.main(["train", "+scheme=rope", "--cfg", "job", "--resolve"]) == 0
    printed = OmegaConf.create(capsys.readouterr().out)
    assert printed.scheme.name == "rope"
    assert printed.tracking.mode == "offline"
    assert jobs == []


def test_info_defaults(jobs, capsys):
    assert main.main(["train", "--info", "defaults", "scheme=rope"]) == 0
    assert "scheme/rope" in capsys.readouterr().out
    assert jobs == []


def test_own_configurations_and_schemes(jobs, tmp_path):
    (tmp_path / "mine" / "scheme").mkdir(parents=True)
    (tmp_path / "mine" / "scheme" / "my_bias.yaml").write_text("name: my_bias\nslope: 2.0\n")
    assert main.main(["train", "--config-dir", "mine", "+scheme=my_bias", "scheme.slope=3"]) == 0
    assert jobs[0].config.scheme == {"name": "my_bias", "slope": 3}
    assert jobs[0].folders == [tmp_path / "mine"]
    assert main.main(["train", "-m", "+scheme=my_bias,alibi", "--config-dir=mine"]) == 0
    assert [job.config.scheme.name for job in jobs[1:]] == ["my_bias", "alibi"]


def test_a_folder_that_hides_a_key_is_named(jobs, tmp_path, capsys):
    """A folder results/ beside one's schemes hides that key; any other can be given."""
    (tmp_path / "scheme").mkdir()
    (tmp_path / "scheme" / "my_bias.yaml").write_text("name: my_bias\n")
    (tmp_path / "results" / "runs").mkdir(parents=True)
    assert (
        main.main(["train", "--config-dir", ".", "+scheme=my_bias", "seed=1"]) == 0
        and len(jobs) == 1
    )
    for command in (["train"], ["train", "-m", "seed=1,2"]):
        assert main.main([*command, "--config-dir", ".", "results=there"]) == 2
        assert "results=there: the folder results/ of --config-dir" in capsys.readouterr().err
    assert len(jobs) == 1


def test_experiment_with_and_without_plus(jobs, tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    text = (
        "# @package _global_\ndefaults:\n  - override /scheme: rope\nseed: 5\nmodel:\n  width: 64\n"
    )
    (tmp_path / "mine" / "experiment" / "published.yaml").write_text(text)
    for extra in (
        ["+experiment=published"],
        ["experiment=published"],
        ["+experiment=published", "+scheme=alibi"],
    ):
        assert main.main(["train", "--config-dir", "mine", *extra]) == 0
    found = [(job.config.scheme.name, job.config.seed, job.config.model.width) for job in jobs]
    assert found == [("rope", 5, 64), ("rope", 5, 64), ("alibi", 5, 64)]


def test_plot_is_called_with_its_arguments(monkeypatch):
    from lengthgen.cli import plot

    given = []
    monkeypatch.setattr(plot, "main", lambda argv: given.append(argv) or 0)
    assert main.main(["plot", "--results", "there"]) == 0
    assert given == [["--results", "there"]]


def test_list_schemes(capsys):
    assert main.main(["list", "schemes", "--table"]) == 0
    printed = capsys.readouterr().out
    names = {line.split()[0] for line in printed.splitlines() if line[:1].islower()}
    assert set(catalogue.options("scheme", catalogue.folders())) <= names
    assert max(map(len, printed.splitlines())) <= 140
    row = next(line for line in printed.splitlines() if line.startswith("t5_bias"))
    assert row.split()[1] == "2020"
    assert " 128: " in row  # 32 buckets for each of 4 heads
    assert "cannot be loaded" not in printed


def test_list_schemes_by_family(capsys, tmp_path):
    """Every one under a heading, a variant below what it varies, a broken one with its reason."""
    folder = tmp_path / "scheme"
    folder.mkdir()
    (folder / "steep.yaml").write_text("name: alibi  # steeper than ALiBi\nmax_bias: 4.0\n")
    (folder / "broken.yaml").write_text("name: broken  # has no code\n")
    assert main.main(["list", "schemes", "--config-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 140 and len(lines) < 100
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    assert set(catalogue.options("scheme", catalogue.folders())) <= set(names)
    family = lines.index("A bias of the distance")
    inside = lines[family + 1 : lines.index("", family)]
    assert [line.split()[0] for line in inside[:3]] == ["alibi", "steep", "alibi_learned"]
    assert inside[1].startswith("    steep ") and inside[1].endswith("steeper than ALiBi")
    broken = lines.index("Cannot be loaded")
    assert lines[broken + 1].startswith("  broken ") and "has no code" in lines[broken + 1]


def test_list_prints_one_whole(capsys):
    assert main.main(["list", "schemes", "kerple_log_per_layer"]) == 0
    printed = capsys.readouterr().out
    assert "with the code of kerple_log" in printed and "Formula:" in printed
    assert "past it" in printed and "A bias of the distance" in printed
    assert main.main(["list", "retrofits", "yarn", "ntk"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("Source:") == 2 and "temperature: true" in printed
    assert main.main(["list", "schemes", "rop"]) == 2
    assert "no scheme 'rop'; nearest: rope" in capsys.readouterr().err
    assert main.main(["list", "runs", "rope"]) == 2
    assert main.main(["list", "runs", "--table"]) == 2


def test_list_schemes_says_what_a_variant_changes_and_what_is_compared(capsys, tmp_path):
    folder = tmp_path / "scheme"
    folder.mkdir()
    (folder / "steep.yaml").write_text("name: alibi  # steeper\nmax_bias: 4.0\n")
    (folder / "wave.yaml").write_text("name: rope  # slower\nbase: 500.0\nlayout: interleaved\n")
    assert main.main(["list", "schemes", "--table", "--config-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = {
        line.split()[0]: number
        for number, line in enumerate(lines)
        if line.split() and line[0].isalpha()
    }
    assert (
        place["alibi"] < place["steep"] < place["fire"]
        and place["rope"] < place["wave"] < place["t5_bias"]
    )
    assert " ".join(lines[place["steep"] : place["steep"] + 2]).split()[:4] == [
        "steep",
        "alibi",
        "with",
        "max_bias=4.0",
    ]
    assert "transformers" in " ".join(lines[place["rope"] : place["rope"] + 4])


@pytest.mark.parametrize("topic", ["modifiers", "retrofits"])
def test_list_modifiers_and_retrofits(capsys, topic):
    assert main.main(["list", topic]) == 0
    printed = capsys.readouterr().out
    names = {line.split()[0] for line in printed.splitlines() if line[:1].islower()}
    assert set(catalogue.options(topic[:-1], catalogue.folders())) - {"none"} <= names
    assert max(map(len, printed.splitlines())) <= 140
    assert "cannot be loaded" not in printed
    rows = {line.split()[0]: line for line in printed.splitlines() if line[:1].islower()}
    if topic == "modifiers":
        assert (
            rows["ssmax"].split()[1] == "2025" and " 16 " in rows["ssmax"]
        )  # a number for each of 4 layers and 4 heads
        assert "layer_mix with window=128" in rows["rnope_swa"] and "model.qk_norm" in printed
    else:
        assert " no " in rows["alibi_interpolation"] and " yes " in rows["hard_window"]
        assert "tail_mean with average=1" in rows["t5_clamp"]


def test_list_of_own_and_broken_retrofits(capsys, tmp_path):
    (tmp_path / "retrofit").mkdir()
    code = (ROOT / "lengthgen" / "retrofits" / "hard_window.py").read_text()
    (tmp_path / "retrofit" / "mine.py").write_text(code)
    (tmp_path / "retrofit" / "mine.yaml").write_text("name: mine  # a band of mine\nwindow: 9\n")
    (tmp_path / "retrofit" / "broken.yaml").write_text("name: broken  # has no code\n")
    assert main.main(["list", "retrofits", "--config-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("mine ") and "a band of mine" in line for line in lines)
    assert any(line.startswith("broken ") and "cannot be loaded" in line for line in lines)


def test_list_schemes_with_own_and_broken_ones(capsys, tmp_path):
    folder = tmp_path / "scheme"
    folder.mkdir()
    (folder / "my_bias.py").write_text((ROOT / "lengthgen" / "schemes" / "alibi.py").read_text())
    (folder / "my_bias.yaml").write_text("name: my_bias  # mine\nmax_bias: 8.0\n")
    (folder / "broken.yaml").write_text("name: broken  # has no code\n")
    assert main.main(["list", "schemes", "--table", "--config-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("my_bias ") and "scores:" in line for line in lines)
    assert any(line.startswith("broken ") and "cannot be loaded" in line for line in lines)
    assert any(line.startswith("t5_bias ") for line in lines)


def test_list_datasets_and_models(capsys):
    assert main.main(["list", "datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in catalogue.options("dataset", catalogue.folders()):
        assert any(line.startswith(f"{name} ") and len(line.split()) > 3 for line in lines), name
    assert main.main(["list", "models"]) == 0
    counts = {
        line.split()[0]: line.split()[1]
        for line in capsys.readouterr().out.splitlines()
        if line[0] != " "
    }
    assert (
        counts["tiny"] == "820,480"
    )  # 257 x 128, 4 blocks of 4 x 128^2 + 8 x 128^2 and two norms, a norm


def test_list_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main.main(["list", "runs"]) == 0
    assert capsys.readouterr().out.startswith("no runs in results/runs")
    folder = tmp_path / "there" / "runs" / "alibi-1"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "scheme: {name: alibi}\ndataset: {name: python}\nmodel: {name: tiny}\nseed: 3\nsteps: 7\n"
    )
    assert main.main(["list", "runs", "--results", "there"]) == 0
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row == ["alibi-1", "alibi", "python", "tiny", "?", "7", "3", "unfinished", "0"]
    (folder / "config.yaml").write_text(
        "scheme: {name: alibi}\nmodifiers: {window: {}, ssmax: {}}\nseed: 3\n"
    )
    assert main.main(["list", "runs", "--results", "there"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[1] == "alibi+window+ssmax"


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help(argv, capsys):
    assert main.main(argv) == 0
    printed = capsys.readouterr().out
    for scheme in catalogue.options("scheme", [catalogue.folder()]):
        assert scheme in printed
    assert "lengthgen train +scheme=t5_bias" in printed


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_help_of_a_command(command, capsys):
    assert main.main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    for group in catalogue.groups(command):
        assert f"  {group.name}={group.value} " in printed
    for key in catalogue.keys(command):
        assert f"  {key.name}={key.value} " in printed
    assert max(map(len, printed.splitlines())) <= 140


def test_help_of_train_names_own_schemes(capsys, tmp_path):
    (tmp_path / "scheme").mkdir()
    (tmp_path / "scheme" / "my_bias.yaml").write_text("name: my_bias\n")
    assert main.main(["train", "--config-dir", str(tmp_path), "--help"]) == 0
    assert "my_bias" in capsys.readouterr().out


def test_version(capsys):
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"lengthgen {lengthgen.__version__}\n"


def test_help_and_configuration_import_no_torch(tmp_path):
    code = (
        "import sys; from lengthgen.cli.main import main\n"
        "heavy = {'torch', 'hydra', 'omegaconf', 'numpy'}\n"
        "assert main(['--help']) == 0 and not heavy & set(sys.modules)\n"
        "assert main(['train', '--help']) == 0 and main(['list', 'datasets']) == 0\n"
        "assert 'hydra' not in sys.modules\n"
        "assert main(['train', '--cfg', 'job']) == 0 and main(['train', 'trian_length=3']) == 2\n"
        "assert main(['list', 'runs']) == 0 and main(['plot']) == 2\n"
        "assert 'torch' not in sys.modules and 'wandb' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == []


# Malformed commands: the whole line, exit code 2, nothing else on stderr


MALFORMED = [
    (
        "train scheme=t5bais",
        "no scheme 't5bais'; nearest: t5_bias; `lengthgen list schemes` shows all",
    ),
    (
        "train +scheme=sand",
        "no scheme 'sand'; nearest: sandwich; `lengthgen list schemes` shows all",
    ),
    ("train scheme=zzz", "no scheme 'zzz'; `lengthgen list schemes` shows all"),
    ("train scheme=../model/tiny", "no scheme '../model/tiny'; `lengthgen list schemes` shows all"),
    ("train scheme=", "no scheme ''; `lengthgen list schemes` shows all"),
    (
        "train scheme=null",
        "scheme has no value: give scheme=...; `lengthgen list schemes` shows which there are",
    ),
    (
        "train ~scheme",
        "scheme has no value: give scheme=...; `lengthgen list schemes` shows which there are",
    ),
    ("train model=tinny", "no model 'tinny'; nearest: tiny; `lengthgen list models` shows all"),
    ("train optim=sgd", "no optim 'sgd'; expected one of: adamw"),
    (
        "train -m scheme=alibi,ropee",
        "no scheme 'ropee'; nearest: rope; `lengthgen list schemes` shows all",
    ),
    (
        "train trian_length=3",
        "no key 'trian_length'; nearest: train_length; `lengthgen train --cfg job` shows all",
    ),
    (
        "train scheme.bukets=3",
        "no key 'scheme.bukets'; nearest: scheme.num_buckets; "
        "`lengthgen train --cfg job` shows all",
    ),
    (
        "train +scheme=alibi scheme.num_buckets=3",
        "no key 'scheme.num_buckets'; scheme has: scheme.name, scheme.max_bias, "
        "scheme.divided; `lengthgen train --cfg job` shows all",
    ),
    (
        "train width=3",
        "no key 'width'; nearest: model.width; `lengthgen train --cfg job` shows all",
    ),
    (
        "train -m width=3,4",
        "no key 'width'; nearest: model.width; `lengthgen train --cfg job` shows all",
    ),
    (
        "train --cfg job trian_length=3",
        "no key 'trian_length'; nearest: train_length; `lengthgen train --cfg job` shows all",
    ),
    (
        "train +train_lenght=3",
        "no key 'train_lenght'; nearest: train_length; `lengthgen train --cfg job` shows all",
    ),
    ("train +seed=1", "+seed=1: the key exists already; write seed=1"),
    ("train alibi", "cannot read 'alibi': expected key=value; did you mean scheme=alibi?"),
    ("train seed", "cannot read 'seed': expected key=value; did you mean seed=...?"),
    ("train =3", "cannot read '=3': expected a key before '='; `lengthgen train --help` shows how"),
    (
        "train seed=[1,2",
        "cannot read the value in 'seed=[1,2': expected a number, a word, [a,b], {a:b} "
        "or quoted text, for example seed=[512,1024] or seed=\"'a b'\"",
    ),
    (
        "train seed=0,1",
        "seed=0,1 gives several values: add -m for one job each (lengthgen train -m seed=0,1), "
        "or write seed=[0,1] for a list",
    ),
    (
        "train scheme=rope,alibi",
        "scheme=rope,alibi gives several values: add -m for one job each (lengthgen train -m "
        "scheme=rope,alibi)",
    ),
    (
        "train seed=range(3)",
        "seed=range(3) gives several values: add -m for one job each (lengthgen train -m "
        "seed=range(3))",
    ),
    (
        "train dataset=files",
        "dataset.path has no value: give dataset.path=...; `lengthgen train --help` shows how",
    ),
    ("train --mutlirun seed=1", "unknown flag --mutlirun; expected one of: --multirun"),
    ("train --cfg jobs", "--cfg needs a value: expected one of job, hydra, all, got 'jobs'"),
    ("train --config-dir", "--config-dir needs a value: expected a folder"),
    (
        "train --config-dir nowhere",
        "--config-dir nowhere: no such folder; expected a folder that holds scheme/NAME.yaml "
        "and the like",
    ),
    ("train --resolve=1 --cfg job", "--resolve takes no value, but got '1'"),
    ("train hydra/launcher=slurm", "no hydra/launcher 'slurm'; "),
    (
        "train -m --cfg job",
        "Only one of --run, --multirun, --cfg, --info and --shell_completion can be specified",
    ),
    ("evaluate", "run has no value: give run=...; `lengthgen list runs` shows which there are"),
    (
        "evaluate run=x +scheme=alibi",
        "no key 'scheme' in evaluate: it is one of `lengthgen train`; "
        "`lengthgen evaluate --help` shows its own",
    ),
    (
        "train +diagnostics=all",
        "no key 'diagnostics' in train: it is one of `lengthgen evaluate`; "
        "`lengthgen train --help` shows its own",
    ),
    (
        "train +modifier=ssmx",
        "no modifier 'ssmx'; nearest: ssmax; `lengthgen list modifiers` shows all",
    ),
    (
        "train -m +modifier=none,[window,ssmx]",
        "no modifier 'ssmx'; nearest: ssmax; `lengthgen list modifiers` shows all",
    ),
    (
        "train modifier=null",
        "modifier=null: leave modifier out to choose none, or give modifier=none (in a sweep: "
        "modifier=none,...)",
    ),
    (
        "train modifiers.ssmax.init=1",
        "no key 'modifiers.ssmax.init': that modifier is not chosen; give modifier=ssmax with it",
    ),
    (
        "train +modifier=window modifiers.window.windw=3",
        "no key 'modifiers.window.windw'; nearest: modifiers.window.window; "
        "`lengthgen train --cfg job` shows all",
    ),
    (
        "evaluate run=x +retrofit=lgo_n",
        "no retrofit 'lgo_n'; nearest: log_n; `lengthgen list retrofits` shows all",
    ),
    (
        "evaluate run=x retrofit.factor=2",
        "no key 'retrofit.factor': that retrofit is not chosen; give retrofit=NAME with it",
    ),
    (
        "evaluate run=x diagnostics.windows=2",
        "no key 'diagnostics.windows': that diagnostics is not chosen; "
        "give diagnostics=NAME with it",
    ),
    ("evaluate run=x +diagnostics=everything", "no diagnostics 'everything'; expected one of: all"),
    (
        "evaluate run=x +retrofit=log_n retrofit.lenght=2",
        "no key 'retrofit.lenght'; nearest: retrofit.length; "
        "`lengthgen evaluate --cfg job` shows all",
    ),
    (
        "train -m +scheme=t5_bias,rope scheme.num_buckets=16",
        "scheme=rope: no key 'scheme.num_buckets'; scheme has: "
        "scheme.name, scheme.base, scheme.layout; `lengthgen train --cfg job` shows all",
    ),
    (
        "train -m +scheme=alibi,sandwich scheme.max_bais=4",
        "scheme=alibi: no key 'scheme.max_bais'; nearest: scheme.max_bias; "
        "`lengthgen train --cfg job` shows all",
    ),
    (
        "evaluate -m run=x +retrofit=none,log_n retrofit.length=9",
        "retrofit=none: no key 'retrofit.length': that retrofit is not chosen; "
        "give retrofit=NAME with it",
    ),
    (
        "evaluate run=x evaluation.lenghts=[512]",
        "no key 'evaluation.lenghts'; nearest: evaluation.lengths; "
        "`lengthgen evaluate --cfg job` shows all",
    ),
    ("trian +scheme=alibi", "no command 'trian'; nearest: train; `lengthgen --help` shows all"),
    (
        "zzz",
        "no command 'zzz'; expected one of: train, evaluate, compare, decide, export, study, plot, "
        "report, dashboard, bench, list, completion; `lengthgen --help` shows all",
    ),
    (
        "list",
        "list what?; expected one of: schemes, modifiers, retrofits, datasets, models, studies, "
        "runs",
    ),
    ("list scheme", "no list of 'scheme'; nearest: schemes"),
    ("list schemes --shape", "unrecognized arguments: --shape; see `lengthgen list --help`"),
    (
        "completion",
        'completion for which shell?; expected one of: bash, zsh, as in: eval "$(lengthgen '
        'completion bash)"',
    ),
    (
        "completion fish",
        "no completion for 'fish'; expected one of: bash, zsh, as in: eval \"$(lengthgen "
        'completion bash)"',
    ),
]


@pytest.mark.parametrize(("command", "line"), MALFORMED, ids=[command for command, _ in MALFORMED])
def test_malformed(jobs, command, line, capsys, tmp_path):
    assert main.main(command.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"lengthgen: {line}")
    assert told.count("\n") == 1
    assert line.endswith("; ") or told == f"lengthgen: {line}\n"
    assert jobs == []
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "command",
    [
        "train seed=1.5",
        "train precision=fp61",
        "train model.n_heads=three",
        "train results=${nope}",
        "train steps=0",
    ],
)
def test_malformed_values_are_told_by_the_configuration(jobs, monkeypatch, capsys, command):
    from lengthgen.runs import train_config as config

    monkeypatch.setattr(
        lengthgen.runs.run,
        "train",
        lambda given, folders, begun: config.check(
            OmegaConf.to_container(given, resolve=True), folders
        ),
    )
    assert main.main(command.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith("lengthgen: ")
    assert told.count("\n") == 1


def test_broken_own_yaml_is_one_line(jobs, tmp_path, capsys):
    (tmp_path / "mine" / "scheme").mkdir(parents=True)
    (tmp_path / "mine" / "scheme" / "my_bias.yaml").write_text("name: my_bias\n  slope: [1\n")
    assert main.main(["train", "--config-dir", "mine", "+scheme=my_bias"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "my_bias.yaml" in told and "line 2" in told


# Failures of jobs


def test_a_user_error_is_one_line_with_its_exit_code(jobs, capsys):
    assert main.main(["train", "seed=11"]) == 3
    assert capsys.readouterr().err == "lengthgen: no text in x; give another folder\n"


def test_a_fault_keeps_its_traceback(jobs):
    with pytest.raises(ZeroDivisionError):
        main.main(["train", "seed=13"])


@pytest.mark.parametrize(("seed", "code"), [(12, 130), (14, 130), (15, 141)])
def test_interrupted(jobs, seed, code, monkeypatch):
    monkeypatch.setattr("os.dup2", lambda *descriptors: None)
    monkeypatch.setattr("sys.stdout.fileno", lambda: 1, raising=False)
    assert main.main(["train", f"seed={seed}"]) == code


def test_a_sweep_goes_on_after_failures_and_tells_each(jobs, capsys, tmp_path):
    assert main.main(["train", "-m", "seed=1,11,13,2"]) == 1
    assert [job.config.seed for job in jobs] == [1, 11, 13, 2]
    told = capsys.readouterr()
    assert "lengthgen: job 2/4 (seed=11) failed: no text in x; give another folder\n" in told.err
    assert "Traceback" in told.err  # of the fault only
    assert (
        "lengthgen: job 3/4 (seed=13) failed: ZeroDivisionError: a fault of lengthgen\n" in told.err
    )
    lines = told.out.splitlines()
    assert lines[-3:] == [
        "failed  run          reason",
        "2/4     - (seed=11)  no text in x; give another folder",
        "3/4     - (seed=13)  ZeroDivisionError: a fault of lengthgen",
    ]
    rows = [line.split()[:4] for line in lines[-8:-4]]
    assert rows == [
        ["1/4", "run-1", "trained", "seed=1"],
        ["2/4", "-", "failed", "seed=11"],
        ["3/4", "-", "failed", "seed=13"],
        ["4/4", "run-4", "trained", "seed=2"],
    ]
    status = json.loads(next((tmp_path / "results" / "sweeps").glob("*/job-2.json")).read_text())
    assert status["message"] == "no text in x; give another folder"


@pytest.mark.parametrize(("seed", "code"), [(12, 130), (14, 130), (15, 141)])
def test_a_signal_stops_the_whole_sweep(jobs, capsys, seed, code):
    with pytest.raises(SystemExit) as stop:
        main.main(["train", "-m", f"seed=1,{seed},2"])
    assert stop.value.code == code
    assert [job.config.seed for job in jobs] == [1, seed]
    assert capsys.readouterr().out.endswith(
        "interrupted  " + f"seed={seed}\n1 of 3 jobs were not run\n"
    )


def test_a_sweep_that_cannot_write_is_one_line(jobs, capsys, tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    assert main.main(["train", "-m", "seed=1,2", "results=taken"]) == 7
    assert "cannot write" in capsys.readouterr().err


def test_statuses_survive_their_file(tmp_path):
    statuses = [sweep.Status(n, f"seed={n}", f"run-{n}", "trained") for n in (1, 2, 10)]
    for status in reversed(statuses):
        sweep.write(tmp_path, status)
    assert sweep.read(tmp_path) == statuses
    assert (sweep.exit_code(statuses, 3), sweep.exit_code(statuses, 4)) == (0, 1)
    assert files(tmp_path) == ["job-1.json", "job-10.json", "job-2.json"]


def test_a_closed_pipe_is_no_fault(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "lengthgen", "list", "datasets"]
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            command, stdout=pipe, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
        )
    assert (done.returncode, done.stderr) == (141, "")


# The argv pass


@pytest.mark.parametrize(
    ("given", "flags", "overrides"),
    [
        ([], [], []),
        (["+scheme=a", "-m", "seed=1,2"], ["--multirun"], ["scheme=a", "seed=1,2"]),
        (
            ["seed=1", "--cfg", "job", "+scheme=a", "--resolve"],
            ["--cfg=job", "--resolve"],
            ["seed=1", "scheme=a"],
        ),
        (["-c", "job", "x=1"], ["--cfg=job"], ["x=1"]),
        (["--info", "seed=1"], ["--info=all"], ["seed=1"]),
        (["--info", "plugins"], ["--info=plugins"], []),
        (
            ["++scheme=a", "+foo=a", "++seed=1", "~model", "+scheme.x=1"],
            [],
            ["scheme=a", "+foo=a", "++seed=1", "~model", "+scheme.x=1"],
        ),
        (["+scheme@other=a"], [], ["scheme@other=a"]),
    ],
)
def test_arrange(given, flags, overrides):
    request = command_line.arrange(given, GROUPS)
    assert (request.flags, request.overrides) == (flags, overrides)
    assert request.multirun == ("-m" in given)


def test_arrange_config_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for given in (["--config-dir", "mine"], ["--config-dir=mine"], ["-cd", "mine"]):
        assert command_line.arrange(given, GROUPS).config_dir == tmp_path / "mine"
    with pytest.raises(ConfigError, match="no such folder"):
        command_line.arrange(["--config-dir=yours"], GROUPS)


def test_nearest():
    assert nearest("t5", ["alibi", "t5_bias"]) == ["t5_bias"]
    assert nearest("evaluation.lenghts", ["evaluation.lengths", "evaluation.documents"]) == [
        "evaluation.lengths"
    ]
    assert nearest("zzz", ["alibi"]) == []


def test_in_one_line():
    try:
        raise ValueError("first\n  full_key: a\nsecond") from KeyError("cause")
    except ValueError as error:
        assert messages.in_one_line(error) == "first; second; 'cause'"


# Completion


def candidates(line: str) -> list[str]:
    return completion.candidates(line, [command.name for command in main.COMMANDS])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lengthgen ev", ["evaluate "]),
        ("lengthgen list ", [f"{topic} " for topic in listing.TOPICS]),
        ("lengthgen completion z", ["zsh "]),
        ("lengthgen export ", ["run=", "+retrofit="]),
        ("lengthgen export run=x --to ", ["hf ", "lm-eval "]),
        ("lengthgen export run=x --ow", ["--own-code "]),
        ("lengthgen export run=x +retrofit=ya", ["+retrofit=yarn ", "+retrofit=yarn_paper "]),
        ("lengthgen train +sch", ["+scheme="]),
        ("lengthgen train +scheme=sand", ["+scheme=sandwich"]),
        ("lengthgen train -m scheme=learned,kerple_p", ["scheme=learned,kerple_power"]),
        ("lengthgen train +scheme=t5_bias scheme.num", ["scheme.num_buckets="]),
        ("lengthgen train +scheme=alibi train_l", ["train_length="]),
        ("lengthgen train --mul", ["--multirun "]),
        ("lengthgen train --cfg ", ["job ", "hydra ", "all "]),
        ("lengthgen evaluate evaluation=q", ["evaluation=quick"]),
        ("lengthgen train +modifier=ss", ["+modifier=ssmax"]),
        ("lengthgen train +modifier=[win", ["+modifier=[window"]),
        ("lengthgen train modifier=[window,ss", ["modifier=[window,ssmax"]),
        ("lengthgen train +modifier=window modifiers.window.s", ["modifiers.window.sinks="]),
        ("lengthgen evaluate run=x +retrofit=hard", ["+retrofit=hard_window"]),
        ("lengthgen evaluate run=x +diagnostics=", ["+diagnostics=all"]),
        ("lengthgen evaluate run=x +diagnostics=all diagnostics.wi", ["diagnostics.windows="]),
        ("lengthgen evaluate run=x +retrofit=log_n retrofit.l", ["retrofit.length="]),
        ("lengthgen list ret", ["retrofits "]),
        ("lengthgen train scheme=nonsense mod", ["model=", "modifier="]),
        ("lengthgen train --nonsense +sch", ["+scheme="]),
        ("lengthgen train --nonsense +scheme=kerple_p", ["+scheme=kerple_power"]),
        ("lengthgen plot ", []),
    ],
)
def test_candidates(line, expected):
    assert candidates(line) == expected


def test_completion_sees_own_schemes(tmp_path):
    (tmp_path / "scheme").mkdir()
    (tmp_path / "scheme" / "my_bias.yaml").write_text("name: my_bias\nslope: 1.0\n")
    assert candidates(f"lengthgen train --config-dir {tmp_path} +scheme=my") == ["+scheme=my_bias"]
    assert candidates(f"lengthgen train --config-dir {tmp_path} +scheme=my_bias scheme.s") == [
        "scheme.slope="
    ]


@pytest.fixture
def program(tmp_path):
    """A folder with an executable `lengthgen`, for a shell's PATH."""
    path = tmp_path / "bin" / "lengthgen"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m lengthgen "$@"\n')
    path.chmod(0o755)
    return path.parent


@pytest.mark.parametrize(
    ("line", "words", "replies"),
    [
        ("lengthgen tr", "lengthgen tr", ["train "]),
        ("lengthgen train +sch", "lengthgen train +sch", ["+scheme="]),
        (
            "lengthgen train +scheme=sand",
            "lengthgen train +scheme = sand",
            ["sandwich"],
        ),  # bash has split the word at '='
        (
            "lengthgen train scheme=",
            "lengthgen train scheme =",
            sorted(catalogue.options("scheme", catalogue.folders())),
        ),
    ],
)
def test_bash_really_completes(program, line, words, replies):
    script = (
        f'PATH={program}:$PATH; eval "$(lengthgen completion bash)"\n'
        f'COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({words})\n'
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
        '_lengthgen lengthgen "${COMP_WORDS[COMP_CWORD]}" ""\n'
        'printf "%s\\n" "${COMPREPLY[@]}"; complete -p lengthgen\n'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    *answers, registered = done.stdout.splitlines()
    assert answers == replies
    assert registered.endswith("-F _lengthgen lengthgen")


def test_zsh_script(capsys):
    assert main.main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#compdef lengthgen")
    assert script.rstrip().endswith("compdef _lengthgen lengthgen")
    assert "completion query" in script


# A real launcher, in processes of its own


@pytest.mark.slow
def test_joblib_launcher(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    (tmp_path / "text").mkdir()
    for n in range(20):
        (tmp_path / "text" / f"{n}.txt").write_text(
            f"the quick brown fox number {n} jumps over it. " * 40
        )
    command = "train -m hydra/launcher=joblib hydra.launcher.n_jobs=2 scheme=alibi,rope seed=0,-1"
    tiny = (
        "dataset=files dataset.path=text steps=2 train_length=16 batch_size=2 model.width=16 "
        "model.n_layers=1 evaluation=quick tracking=none"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LENGTHGEN_CACHE": str(tmp_path / "cache"),
    }
    argv = [sys.executable, "-m", "lengthgen", *command.split(), *tiny.split()]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"\d/4 .*scheme", line)]
    assert [(row[0], row[2]) for row in rows] == [
        ("1/4", "trained"),
        ("2/4", "failed"),
        ("3/4", "trained"),
        ("4/4", "failed"),
    ]
    assert done.stderr.count("expected 0 <= seed") == 2


def test_two_sweeps_of_the_same_second_do_not_share_a_folder(tmp_path):
    claimed = [sweep.claim(tmp_path / "sweeps" / "now") for _ in range(3)]
    assert [path.name for path in claimed] == ["now", "now-2", "now-3"] and all(
        path.is_dir() for path in claimed
    )


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("ALiBi", "alibi"),
        ("T5", "t5_bias"),
        ("RoPE", "rope"),
        ("NoPE", "none"),
        ("FIRE", "fire"),
        ("KERPLE", "kerple_log"),
        ("learned-absolute", "learned"),
        ("Transformer-XL", "transformer_xl"),
        ("'learned absolute'", "learned"),
    ],
)
def test_the_papers_names_choose_the_scheme(jobs, given, name):
    assert main.main(["train", f"+scheme={given}"]) == 0
    assert jobs[0].config.scheme.name == name


def test_a_sweep_may_mix_the_papers_names(jobs):
    assert main.main(["train", "-m", "+scheme=ALiBi,T5,rope"]) == 0
    assert [job.config.scheme.name for job in jobs] == ["alibi", "t5_bias", "rope"]


@pytest.mark.parametrize(
    "words", [("scheme=alibi", "+scheme=rope"), ("+scheme=ALiBi", "scheme=alibi")]
)
def test_a_group_given_twice_is_refused(jobs, capsys, words):
    assert main.main(["train", *words]) == 2
    assert "scheme is given twice" in capsys.readouterr().err and jobs == []


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("epochs", "steps"),
        ("learning_rate", "optim.lr"),
        ("lr", "optim.lr"),
        ("batch", "batch_size"),
        ("seq_len", "train_length"),
    ],
)
def test_keys_of_other_trainers_are_understood(jobs, capsys, word, key):
    assert main.main(["train", f"{word}=3"]) == 2
    assert f"no key {word!r}; nearest: {key};" in capsys.readouterr().err


def test_every_name_of_a_paper_stands_for_one_that_is_there():
    from lengthgen.config import nearest as names

    for group, papers in names.PAPERS.items():
        assert set(papers) <= set(catalogue.options(group, catalogue.folders()))


def test_a_users_variant_is_a_defaults_list(capsys, tmp_path):
    """It composes as Hydra merges it, and `list` reads the same; of nothing: a row that says so."""
    (tmp_path / "scheme").mkdir()
    text = "# T5's bias, my ranges\ndefaults: [t5_far, _self_]\nnum_buckets: 16\n"
    (tmp_path / "scheme" / "mine.yaml").write_text(text)
    words = ["scheme=mine", "--config-dir", str(tmp_path), "--cfg", "job", "--resolve"]
    assert main.main(["train", *words]) == 0
    composed = OmegaConf.create(capsys.readouterr().out).scheme
    assert composed.name == "t5_bias" and composed.max_distance == 512
    folders = catalogue.folders(tmp_path)
    assert catalogue.contents(tmp_path / "scheme" / "mine.yaml", folders) == composed
    assert composed.num_buckets == 16
    (tmp_path / "scheme" / "lost.yaml").write_text("# of nothing\ndefaults: [gone, _self_]\n")
    assert main.main(["list", "schemes", "--table", "--config-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("mine ") and "t5_bias with" in line for line in lines)
    assert any(line.startswith("lost ") and "cannot be loaded" in line for line in lines)
