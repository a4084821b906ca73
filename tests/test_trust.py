"""What somebody else made runs no code here: run folders, YAML files, names, Hydra's settings."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import lengthgen
from lengthgen import files
from lengthgen.cli import hydra_call, main
from lengthgen.config import hydra_settings, paths, refusals
from lengthgen.errors import ConfigError
from lengthgen.runs import kept_code
from lengthgen.runs.folder import RunFolder

TINY = [
    *("steps=2", "train_length=16", "batch_size=2", "model.n_layers=1", "model.width=16"),
    *("evaluation=quick", "tracking=none", "threads=1", "cache=cache", "dataset=files"),
    *("dataset.path=text", "validate_every=0", "evaluation.documents=4", "scheme=mine"),
]
SCHEME = """
from dataclasses import dataclass
from pathlib import Path

from lengthgen.schemes.base import Declaration, Scheme

Path("CANARY").write_text("run")


@dataclass
class Config:
    pass


class Mine(Scheme):
    Config = Config

    @property
    def declaration(self):
        words = {name: "mine" for name in ("paper", "sharing", "trained_reach", "tail")}
        flags = {"prefix_consistent": True, "shift_invariant": True}
        return Declaration(year=2020, acts_on="nothing", **words, **flags)
"""


def yaml_file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LENGTHGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that was trained with a scheme of somebody's own."""
    root = tmp_path_factory.mktemp("trained")
    (root / "text").mkdir()
    for number in range(20):
        (root / "text" / f"{number}.txt").write_text(f"a quick brown fox, number {number}. " * 30)
    yaml_file(root / "mine" / "scheme" / "mine.yaml", "name: mine  # my own\n")
    yaml_file(root / "mine" / "scheme" / "mine.py", SCHEME)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main.main(["train", "--config-dir", "mine", *TINY]) == 0
    return root


@pytest.fixture
def received(trained, here):
    """The run's folder, as it was sent to somebody who has the data. Its name."""
    for part in ("text", "cache", "results"):
        shutil.copytree(trained / part, here / part, symlinks=True)
    assert not (here / "CANARY").exists()
    (folder,) = (here / "results" / "runs").iterdir()
    return folder.name


def test_a_received_runs_code_is_not_run(received, capsys):
    assert main.main(["evaluate", f"run={received}", "evaluation.lengths=[16,24]"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "scheme/mine.py" in error and "trust_code=true" in error
    assert not Path("CANARY").exists()
    with pytest.raises(ConfigError, match="trust_code=true"):
        lengthgen.load_run(received)
    assert not Path("CANARY").exists()


def test_it_is_run_for_a_user_who_says_so(received):
    words = ["evaluate", f"run={received}", "evaluation.lengths=[16,24]", "trust_code=true"]
    assert main.main(words) == 0
    Path("CANARY").unlink()
    assert lengthgen.load_run(received, trust_code=True).config.scheme.name == "mine"
    assert Path("CANARY").exists()


def test_the_users_own_folder_vouches_for_the_same_file(received, trained, capsys):
    shutil.copytree(trained / "mine", "mine")
    words = ["evaluate", "--config-dir", "mine", f"run={received}", "evaluation.lengths=[16,24]"]
    assert main.main(words) == 0
    with Path("mine/scheme/mine.py").open("a") as file:
        file.write("# other\n")
    assert main.main([*words, "evaluation.documents=3"]) == 2
    assert "scheme/mine.py" in capsys.readouterr().err


def test_the_training_command_goes_on_working(received, trained, capsys):
    shutil.copytree(trained / "mine", "mine")
    assert main.main(["train", "--config-dir", "mine", *TINY]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_trust_is_no_part_of_the_evaluations_identity(received):
    words = ["evaluate", f"run={received}", "evaluation=quick", "evaluation.documents=4"]
    words += ["tracking=none", "threads=1", "trust_code=true"]
    before = sorted(Path("results/runs", received, "evaluation").iterdir())
    assert main.main(words) == 0
    assert sorted(Path("results/runs", received, "evaluation").iterdir()) == before


def test_trust_is_true_or_false(received, capsys):
    assert main.main(["evaluate", f"run={received}", "trust_code=perhaps"]) == 2
    assert "trust_code=perhaps: expected true or false" in capsys.readouterr().err
    assert not Path("CANARY").exists()


def test_trust_is_not_taken_from_a_file(received, capsys):
    text = "# @package _global_\ntrust_code: true\n"
    yaml_file(Path("mine/evaluation/shared.yaml"), text)
    words = ["evaluate", f"run={received}", "--config-dir", "mine", "+evaluation=shared"]
    assert main.main(words) == 2
    assert "give trust_code=true" in capsys.readouterr().err
    assert not Path("CANARY").exists()


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "x${oc.env:HF_TOKEN}", "'${seed}'"])
def test_a_received_configuration_reads_no_environment(value, received, capsys, monkeypatch):
    config = Path("results/runs", received, "config.yaml")
    text = config.read_text().replace("label: null", f"label: {value}")
    assert value in text
    config.write_text(text)
    # Whoever changes a file can change its sum.
    done = files.read_sealed(config.parent / "done.json")
    sums = {name: files.sha256(config.parent / name) for name in done["sha256"]}
    files.write_sealed(config.parent / "done.json", done | {"sha256": sums})
    assert main.main(["evaluate", f"run={received}", "trust_code=true"]) == 2
    error = capsys.readouterr().err
    assert "expected values alone" in error and error.count("\n") == 1
    with pytest.raises(ConfigError, match="expected values alone"):
        lengthgen.load_run(received, trust_code=True)


@pytest.mark.parametrize("noun", kept_code.NOUNS)
def test_every_kind_of_code_is_asked_for(noun, tmp_path):
    run = RunFolder(tmp_path / "run")
    yaml_file(run.path / noun / "evil.py", "raise SystemExit")
    with pytest.raises(ConfigError, match=f"{noun}/evil.py"):
        kept_code.folders(run, [], False)
    assert kept_code.folders(run, [tmp_path], True) == [run.path, tmp_path]
    yaml_file(tmp_path / "mine" / noun / "evil.py", "raise SystemExit")
    assert kept_code.folders(run, [tmp_path / "mine"], False)
    assert kept_code.folders(RunFolder(tmp_path / "other"), [], False)


def test_code_of_an_evaluations_retrofit_is_asked_for(tmp_path):
    run = RunFolder(tmp_path / "run")
    yaml_file(run.retrofit("0123abcd") / "retrofit" / "evil.py", "")
    assert kept_code.folders(run, [], False)
    with pytest.raises(ConfigError, match="retrofits/0123abcd/retrofit/evil"):
        kept_code.folders(run, [], False, "0123abcd")


def test_a_folder_named_once_vouches_for_the_whole_process(tmp_path, monkeypatch):
    """For studies, which read the models of many runs."""
    monkeypatch.setattr(kept_code, "_named", [])
    run = RunFolder(tmp_path / "run")
    for root in (run.path, tmp_path / "mine"):
        yaml_file(root / "scheme" / "mine.py", "x = 1")
    with pytest.raises(ConfigError):
        kept_code.folders(run, [], False)
    kept_code.named([tmp_path / "mine"])
    assert kept_code.folders(run, [], False)


def test_compiled_code_beside_a_file_is_never_run(here):
    """Python would take __pycache__ for the file, whatever stands in that."""
    import importlib.util
    import py_compile

    from lengthgen import schemes

    evil = yaml_file(here / "evil.py", SCHEME.replace("CANARY", "COMPILED"))
    mine = yaml_file(here / "scheme" / "mine.py", SCHEME)
    compiled = importlib.util.cache_from_source(str(mine))
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(evil), cfile=compiled, invalidation_mode=mode)
    schemes.load("mine", [here / "scheme"])
    assert Path("CANARY").exists() and not Path("COMPILED").exists()
    shutil.rmtree(here / "scheme" / "__pycache__")
    schemes.load("mine", [here / "scheme"])
    assert not (here / "scheme" / "__pycache__").exists()


# Names are names


NO_NAMES = [
    *("../evil", "../../evil", "a/b", "/tmp/evil", "..", ".", "", "a\0b", "a\\b", "~/evil", "a b"),
    *("x" * 300, "evil.py/", "a..b", "\u202eevil", "C:evil", "$(evil)", "-evil", ".hidden", "a\nb"),
]


@pytest.mark.parametrize("kind", ["schemes", "modifiers", "retrofits", "datasets"])
@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_is_no_path(kind, name, tmp_path, monkeypatch):
    from lengthgen import modifiers, retrofits, schemes
    from lengthgen.data import datasets

    monkeypatch.chdir(tmp_path)
    for path in ("evil.py", "a/b.py", "mine/evil.py"):
        yaml_file(tmp_path / path, "from pathlib import Path\nPath('CANARY').touch()")
    module = {
        "schemes": schemes,
        "modifiers": modifiers,
        "retrofits": retrofits,
        "datasets": datasets,
    }[kind]
    for wanted in (name, str(tmp_path / "evil")):
        with pytest.raises(ConfigError, match="expected a name of letters"):
            module.load(wanted, [tmp_path / "mine" / module.NOUN])
    assert not Path("CANARY").exists()


@pytest.mark.parametrize("name", ["mine", "my_scheme", "Mine2", "fox-v1.2", "_x", "a" * 100])
def test_names_are_taken(name):
    assert paths.name(name, "scheme.name") == name


@pytest.mark.parametrize(
    "words",
    [
        ("scheme.name=../../evil",),
        ("scheme.name={root}/evil",),
        ("dataset.name=../../evil",),
        ("dataset.name={root}/evil",),
        ("+modifiers={{../../evil: {{}}}}",),
        ("modifiers={{../../evil: {{}}}}",),
    ],
)
def test_names_of_the_command_line(words, here, capsys):
    (here / "mine").mkdir()
    for path in (here / "evil.py", here.parent / "evil.py"):
        path.write_text("from pathlib import Path\nPath('CANARY').touch()")
    words = [word.format(root=here) for word in words]
    assert main.main(["train", "--config-dir", "mine", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("CANARY").exists()


# Hydra's settings

OPEN = "{_target_: builtins.open, file: CANARY, mode: w}"
FOREIGN = [  # on the command line
    ["+hydra.callbacks.x._target_=builtins.open", "+hydra.callbacks.x.file=CANARY"],
    [f"+hydra.callbacks.x={OPEN}"],
    [f"hydra.callbacks={{x: {OPEN}}}"],
    ["hydra/callbacks=evil"],
    ["+hydra.job_logging.handlers.x={class: logging.FileHandler, filename: CANARY}"],
    ["+hydra.job_logging.handlers.terminal.filename=CANARY"],
    ["hydra.job_logging.handlers.terminal.class=logging.FileHandler"],
    ["+hydra.job_logging.formatters.x={'()': builtins.open, file: CANARY, mode: w}"],
    ["+hydra.hydra_logging.handlers={x: {class: logging.FileHandler, filename: CANARY}}"],
    ["hydra/job_logging=default"],
    ["hydra/hydra_logging=colorlog"],
    ["hydra.launcher._target_=builtins.open", "+hydra.launcher.file=CANARY"],
    [f"+hydra.launcher.inside={OPEN}"],
    ["hydra.sweeper._target_=builtins.open"],
    [f"+hydra.sweeper.inside={OPEN}"],
    ["hydra.searchpath=[pkg://evil]"],
    ["hydra.searchpath=[file:///tmp]"],
    ["++hydra.searchpath=[pkg://evil]"],
    ["hydra={searchpath: [pkg://evil]}"],
    ["hydra.run.dir=../CANARY"],
    ["hydra.run.dir=/tmp/CANARY"],
    ["hydra.sweep.dir=../CANARY"],
    ["hydra.sweep.subdir=../CANARY"],
    ["hydra.output_subdir=../CANARY"],
    ["hydra.output_subdir=.hydra"],
    ["hydra.job.chdir=true"],
    ["hydra.job.env_set={LD_PRELOAD: x}"],
    ["+hydra.job.env_set.LD_PRELOAD=x"],
    ["hydra.job.env_copy=[HOME]"],
    ["hydra.mode=MULTIRUN"],
    ["hydra/output=default"],
    ["+model._target_=builtins.open"],
    [f"+x={OPEN}"],
    [f"+tracking.x=[[{OPEN}]]"],
    ["hydra.verbose=[lengthgen]"],
    ["hydra.sweeper.max_batch_size=0"],
    ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=0"],
    ["hydra/sweeper=optuna", f"+hydra.sweeper.sampler={OPEN}"],
    ["hydra/sweeper=optuna", "hydra.sweeper._target_=builtins.open"],
    ["hydra/launcher=ray", f"+hydra.launcher.init={OPEN}"],
]


@pytest.fixture
def stub(monkeypatch, here):
    """The training is a stub; which configurations it was called with."""
    called = []
    module = ModuleType("lengthgen.runs.run")

    def work(config, folders, begun=None):
        called.append(config)
        return SimpleNamespace(
            run_id="x", folder=Path("results"), status="trained", evaluation=Path("results/x/y")
        )

    module.train = module.evaluate = work
    monkeypatch.setitem(sys.modules, "lengthgen.runs.run", module)
    monkeypatch.setattr("lengthgen.runs.run", module, raising=False)
    monkeypatch.setattr("lengthgen.runs.process.prepare_environment", lambda: None)
    monkeypatch.syspath_prepend(str(here / "modules"))
    code = "from pathlib import Path\nPath('CANARY').touch()\n"
    yaml_file(here / "modules" / "evil" / "__init__.py", code)
    return called


def written(folder: Path) -> list[str]:
    """All that is there but what the tests put there."""
    ours = ("modules", "mine", "cache")
    paths_ = (path.relative_to(folder) for path in folder.rglob("*"))
    return sorted(str(path) for path in paths_ if path.parts[0] not in ours)


@pytest.mark.parametrize("multirun", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("words", FOREIGN, ids=" ".join)
def test_hydras_settings_are_refused_before_hydra_acts(words, multirun, stub, here, capsys):
    sweep = ["-m", "seed=0,1"] if multirun else []
    assert main.main(["train", *words, *sweep]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lengthgen: ") and error.count("\n") == 1
    assert stub == [] and written(here) == [] and not (here.parent / "CANARY").exists()
    assert "evil" not in sys.modules


FILES = [  # in a YAML that somebody shared
    f"hydra:\n  callbacks:\n    x: {OPEN}\n",
    "hydra: {job_logging: {handlers: {x: {class: logging.FileHandler, filename: CANARY}}}}",
    "hydra: {job_logging: {handlers: {x: {(): builtins.open, file: CANARY, mode: w}}}}",
    "hydra:\n  job_logging:\n    formatters:\n      plain: {class: evil.Formatter}\n",
    "hydra:\n  hydra_logging:\n    handlers:\n      x: {class: evil.Handler}\n",
    "hydra:\n  launcher: {_target_: builtins.open, file: CANARY, mode: w}\n",
    "hydra:\n  launcher: {_target_: builtins.breakpoint}\n",
    "hydra:\n  launcher: ${steps}\n",
    "hydra:\n  launcher:\n    _target_: ${dataset.name}\n",
    "hydra:\n  sweeper: {_target_: builtins.open, file: CANARY, mode: w}\n",
    "hydra:\n  sweeper:\n    params:\n      +hydra.callbacks.x._target_: builtins.open\n",
    "hydra:\n  sweeper:\n    params:\n      hydra.sweep.subdir: ../CANARY\n",
    "hydra:\n  sweep: {dir: ../CANARY}\n",
    "hydra:\n  sweep: {subdir: ../CANARY}\n",
    "hydra:\n  run: {dir: ../CANARY}\n",
    "hydra:\n  output_subdir: ../CANARY\n",
    "hydra:\n  job: {chdir: true}\n",
    "hydra:\n  job: {env_set: {LD_PRELOAD: evil.so}}\n",
    "hydra:\n  searchpath: [pkg://evil]\n",
    "hydra:\n  verbose: {_target_: builtins.open}\n",
    f"model:\n  inside: {OPEN}\n",
    f"dataset:\n  data_files: [{OPEN}]\n",
    f"evil: {OPEN}\n",
    "defaults:\n  - /evil@hydra.callbacks: x\n",
]


@pytest.mark.parametrize("multirun", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("text", FILES)
def test_nor_are_they_taken_from_a_file(text, multirun, stub, here, capsys):
    yaml_file(here / "mine" / "experiment" / "shared.yaml", f"# @package _global_\n{text}")
    yaml_file(here / "mine" / "evil" / "x.yaml", f"x: {OPEN}\n")
    words = ["train", "--config-dir", "mine", "+experiment=shared"]
    assert main.main([*words, *(["-m", "seed=0,1"] if multirun else [])]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lengthgen: ") and error.count("\n") == 1
    assert stub == [] and written(here) == [] and not (here.parent / "CANARY").exists()
    assert "evil" not in sys.modules


@pytest.mark.parametrize("text", [FILES[0], FILES[6], FILES[-1]])
def test_nor_by_compose(text, here):
    yaml_file(here / "mine" / "experiment" / "shared.yaml", f"# @package _global_\n{text}")
    yaml_file(here / "mine" / "evil" / "x.yaml", f"x: {OPEN}\n")
    with pytest.raises(ConfigError, match=r"hydra\.callbacks|_target_"):
        lengthgen.compose(["+experiment=shared"], config_dir="mine")
    assert written(here) == []


def test_nor_from_one_of_several_that_a_sweep_goes_over(stub, here, capsys):
    """Jobs are composed one by one: all are refused before the first."""
    yaml_file(here / "mine" / "experiment" / "good.yaml", "# @package _global_\nsteps: 5\n")
    evil = f"# @package _global_\nhydra:\n  job_logging:\n    formatters:\n      x: {OPEN}\n"
    yaml_file(here / "mine" / "experiment" / "evil.yaml", evil)
    words = ["train", "--config-dir", "mine", "-m", "+experiment=good,evil"]
    assert main.main(words) == 2
    assert "hydra.job_logging" in capsys.readouterr().err
    assert stub == [] and not (here / "CANARY").exists()


@pytest.mark.parametrize("words", [["--cfg", "job"], ["--cfg", "all"], ["--info", "config"]])
def test_nor_where_hydra_only_prints(words, here, capsys):
    assert main.main(["train", f"+hydra.callbacks.x={OPEN}", *words]) == 2
    assert "hydra.callbacks.x" in capsys.readouterr().err and written(here) == []


@pytest.mark.parametrize("key", hydra_settings.TYPED_BY_HAND)
def test_commands_of_launchers_are_typed_and_not_read(key):
    """Lines that a scheduler runs, and folders: from the command line alone."""
    name = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    launcher = {"_target_": name, "partition": "gpu", key: "rm -r ."}
    with pytest.raises(ConfigError, match="expected on the command line"):
        hydra_settings._check_launcher(launcher, ["seed=1"])
    hydra_settings._check_launcher(launcher, [f"hydra.launcher.{key}=x"])
    hydra_settings._check_launcher({**launcher, key: None}, [])


def test_what_is_used_is_taken(stub, here):
    folder = "hydra.sweep.dir=results/mine"
    assert main.main(["train", "-m", "seed=0,1", folder, "hydra.sweeper.max_batch_size=1"]) == 0
    assert [config.seed for config in stub] == [0, 1]
    assert json.loads((here / "results/mine/job-2.json").read_text())["status"] == "trained"
    swept = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 3,4\n"
    yaml_file(here / "mine" / "experiment" / "own.yaml", swept)
    assert main.main(["train", "-m", "--config-dir", "mine", "+experiment=own"]) == 0
    assert [config.seed for config in stub[2:]] == [3, 4]
    assert main.main(["train", "hydra.verbose=true"]) == 0


def test_a_folder_of_results_that_is_a_link_leads_where_it_leads(stub, here, capsys):
    (here / "results").mkdir()
    (here / "results" / "out").symlink_to(here.parent)
    assert main.main(["train", "-m", "seed=0,1", "hydra.sweep.dir=results/out/x"]) == 2
    assert "expected a folder in results=results" in capsys.readouterr().err


def test_hydra_composes_as_before_afterwards():
    from hydra._internal import hydra as hydra_main
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    with hydra_settings.refused_in_time():
        assert hydra_main.ConfigLoaderImpl is hydra_settings.Loader
    assert hydra_main.ConfigLoaderImpl is ConfigLoaderImpl
    assert isinstance(refusals.loader(None), hydra_settings.Loader)


# Tab completion


def test_completion_offers_nothing_that_a_shell_would_run(here, monkeypatch, capsys):
    for name in ("good", "$(touch CANARY)", "a;b", "`x`", "a\nb", "two words", "a>b", "a'b"):
        yaml_file(here / "mine" / "scheme" / f"{name}.yaml", "name: rope\n")
    monkeypatch.setenv("COMP_LINE", "lengthgen train --config-dir mine scheme=")
    assert main.main(["completion", "query"]) == 0
    offered = capsys.readouterr().out
    assert "scheme=good" in offered.split() and not set(offered) & set("$;`()>'")


@pytest.mark.parametrize("point", ["", "x", "-3", "99999999999", "1e3"])
def test_completion_takes_any_cursor(point, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", "lengthgen tr")
    monkeypatch.setenv("COMP_POINT", point)
    assert main.main(["completion", "query"]) == 0
    assert capsys.readouterr().err == ""


def test_completion_composes_nothing_foreign(stub, here):
    words = ["hydra.searchpath=[pkg://evil]"]
    with pytest.raises(ConfigError):
        hydra_call.complete("train", words, "scheme=al")
    assert "evil" not in sys.modules and written(here) == []


# Studies


def test_a_study_reads_the_models_of_its_users_schemes(here, monkeypatch, capsys):
    """It made them with the code of the folder that the user named."""
    from lengthgen import schemes

    from .study_cases import MINE

    monkeypatch.setattr(kept_code, "_named", [])
    study = MINE.replace("[scheme=learned]", "[scheme=own]").replace("{seeds: 2}", "{seeds: 1}")
    study = study[: study.index("conditions:")] + "claims:\n" + study[study.index("  far:") :]
    study = study.replace("    about_training: true\n", "    primary: true\n", 1)
    yaml_file(here / "mine" / "study" / "mine.yaml", study)
    yaml_file(here / "mine" / "scheme" / "own.yaml", "name: own\n")
    code = (schemes.HERE / "learned.py").read_text()
    yaml_file(here / "mine" / "scheme" / "own.py", code)
    words = ["study", "mine", "--config-dir", "mine", "--workers", "1", "--unregistered"]
    assert main.main([*words, f"cache={here / 'cache'}"]) == 0, capsys.readouterr().err
    (folder,) = (here / "results" / "studies").glob("mine*")
    assert "learned" in (folder / "exposure.csv").read_text()
