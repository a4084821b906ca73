"""The wheel: built from the tree, installed elsewhere, used from an empty folder. Slow."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TINY = (
    "steps=2 train_length=32 batch_size=2 model.n_layers=1 model.width=16"
    " evaluation=quick evaluation.documents=2"
)

pytestmark = pytest.mark.slow


def run(command, folder, **environment):
    """The finished process of `command`; its output is shown if it fails."""
    process = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert process.returncode == 0, f"{command}\n{process.stdout}\n{process.stderr}"
    return process


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    tree = tmp_path_factory.mktemp("tree")
    for name in ("lengthgen", "configs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    out = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)], tree)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds the installed wheel and nothing else."""
    site = tmp_path_factory.mktemp("site")
    options = ["-q", "--no-deps", "--no-index", "--target", str(site)]
    run([sys.executable, "-m", "pip", "install", *options, str(wheel)], site)
    return site


@pytest.fixture
def lengthgen(installed, tmp_path):
    """Call the installed console script from an empty folder."""
    folder = tmp_path / "empty"
    folder.mkdir()

    def call(command):
        environment = {
            "PYTHONPATH": str(installed),
            "LENGTHGEN_CACHE": str(tmp_path / "cache"),
            "WANDB_MODE": "offline",
        }
        script = str(installed / "bin" / "lengthgen")
        return run([script, *command.split()], folder, **environment).stdout

    call.folder = folder
    return call


def test_the_wheel_holds_every_module_and_configuration(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "lengthgen").rglob("*.py")}
    configs = {f"lengthgen/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    page = ROOT / "lengthgen" / "reporting" / "page"
    kinds = ("*.html", "*.css", "*.js", "LICENSE")  # of `lengthgen report`
    assets = {str(path.relative_to(ROOT)) for kind in kinds for path in page.rglob(kind)}
    assert len(assets) > 8 and modules | configs | assets <= inside
    assert not [name for name in inside if name.startswith(("tests/", "results/", "configs/"))]


def test_train_plot_and_list_from_an_empty_folder(lengthgen, installed):
    assert "t5_bias" in lengthgen("list schemes")
    lengthgen(f"train +scheme=alibi {TINY}")
    assert sorted(path.name for path in lengthgen.folder.iterdir()) == ["results"]
    assert "nothing to do" in lengthgen(f"train +scheme=alibi {TINY}")
    (run_folder,) = (lengthgen.folder / "results" / "runs").iterdir()
    assert run_folder.name in lengthgen("list runs")
    tables = list(run_folder.glob("evaluation/*/lengths.csv"))
    assert len(tables) == 1 and "alibi" in tables[0].read_text()
    lengthgen("plot")
    assert lengthgen("report") == "report.html\n"
    assert "alibi" in (lengthgen.folder / "report.html").read_text()
    assert list((lengthgen.folder / "results" / "figures").glob("*.png"))
    lengthgen(f"evaluate run={run_folder.name} evaluation.lengths=[32,48]")
    assert len(list(run_folder.glob("evaluation/*/lengths.csv"))) == 2
    where = [sys.executable, "-c", "import lengthgen; print(lengthgen.__file__)"]
    origin = run(where, lengthgen.folder, PYTHONPATH=str(installed)).stdout
    assert str(installed) in origin  # and not the checkout


def test_a_users_scheme_as_one_file_and_one_yaml(lengthgen):
    folder = lengthgen.folder / "mine" / "scheme"
    folder.mkdir(parents=True)
    (folder / "my_bias.yaml").write_text(
        "name: my_bias  # half of ALiBi\nmax_bias: 8.0  # the last slope is 2^-max_bias\n"
    )
    (folder / "my_bias.py").write_text((ROOT / "lengthgen" / "schemes" / "alibi.py").read_text())
    assert "my_bias" in lengthgen("list schemes --config-dir mine")
    lengthgen(f"train --config-dir mine +scheme=my_bias {TINY} tracking=none")
    (run_folder,) = (lengthgen.folder / "results" / "runs").glob("my_bias-*")
    assert list(run_folder.glob("evaluation/*/lengths.csv"))
    shutil.rmtree(lengthgen.folder / "mine")  # the run keeps the scheme's code
    lengthgen(
        f"evaluate run={run_folder.name} evaluation.lengths=[32,48] tracking=none trust_code=true"
    )


def test_the_readme_that_a_package_index_shows_has_its_images(wheel):
    with zipfile.ZipFile(wheel) as content:
        [name] = [name for name in content.namelist() if name.endswith(".dist-info/METADATA")]
        text = content.read(name).decode()
    assert "main/results/length_512/loss_by_length.svg)" in text
    assert "](results/" not in text and "](CONTRIBUTING.md)" not in text
