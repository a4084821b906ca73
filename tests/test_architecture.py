"""A file imports from its room and from lower layers; imports inside functions count as well."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lengthgen"

# Lowest first. A room or a top-level file that is not listed fails the test.
LAYERS = (
    {"errors"},
    {"files", "statistics", "config", "attention"},
    {"terminal"},
    {"tracking", "schemes", "data", "training"},
    {"model", "modifiers"},
    {"retrofits", "decoding"},
    {"evaluation", "pretrained"},
    {"reporting"},
    {"diagnostics"},
    {"runs"},
    {"bench", "exporting"},
    {"studies"},
    {"decisions"},
    {"cli"},
)
LAYER = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
# And the command line, until a command needs it.
NO_TORCH = {"errors", "files", "statistics", "config", "terminal", "reporting"}
# Library -> the rooms that may know it: everyone else asks them.
KNOWN_BY = {
    "hydra": {"config", "cli"},
    "wandb": {"tracking"},
    "datasets": {"data"},
    "tokenizers": {"data"},
    "matplotlib": {"reporting", "diagnostics", "bench", "studies"},
    "filelock": {"runs"},
    "tqdm": {"terminal"},
    "peft": {"pretrained"},
    "transformers": {"data", "pretrained", "exporting", "bench"},
}


def imported(source: str) -> list[str]:
    """Full dotted names of all that a source imports."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room(module: str) -> str:
    """`lengthgen.data.tokens` -> `data`; "" for the package itself."""
    return [*module.split("."), ""][1]


def upward(module: str, source: str) -> list[str]:
    """Those imports of `module` that are neither of its own room nor of a lower layer."""
    ours = [
        name
        for name in imported(source)
        if name.split(".")[0] == "lengthgen" and not room(name).startswith("__")
    ]
    return [
        name
        for name in ours
        if room(name) != room(module) and LAYER[room(name)] >= LAYER[room(module)]
    ]


def modules() -> dict[str, str]:
    """Dotted name -> source of every file but the package's __init__.py and __main__.py."""
    paths = [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent != PACKAGE or not path.stem.startswith("__")
    ]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in paths
    }


def test_imports_run_downwards():
    assert {
        name: found for name, source in modules().items() if (found := upward(name, source))
    } == {}


def test_no_rings_within_a_room():
    """Whole files as nodes; an import inside a function counts as well."""
    sources = modules()
    arrows = {}
    for name, source in sources.items():
        targets = {
            found if found in sources else found.rpartition(".")[0] for found in imported(source)
        }
        arrows[name] = targets & set(sources) - {name}
    assert list(TopologicalSorter(arrows).static_order())  # raises CycleError


def test_an_import_that_runs_upwards_is_found():
    assert upward("lengthgen.statistics.new", "def f():\n    from lengthgen.runs import run\n") == [
        "lengthgen.runs.run"
    ]
    assert (
        upward(
            "lengthgen.statistics.new",
            "from lengthgen.statistics import losses\nimport lengthgen.errors",
        )
        == []
    )


def test_the_hall_is_small():
    assert len(list(PACKAGE.glob("*.py"))) <= 5


@pytest.mark.parametrize("library", KNOWN_BY)
def test_only_its_rooms_know_a_library(library):
    knowing = {
        room(name)
        for name, source in modules().items()
        if library in {found.split(".")[0] for found in imported(source)}
    }
    assert knowing and knowing <= KNOWN_BY[library]


def test_rooms_without_torch():
    """Importing every file of these rooms, and the command line, loads no torch."""
    names = [name for name in modules() if room(name) in NO_TORCH | {"cli"}]
    code = (
        f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_sources_know_numpy_alone():
    names = [
        found
        for name, source in modules().items()
        if name.startswith("lengthgen.data.sources.")
        for found in imported(source)
    ]
    assert {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {
        "lengthgen"
    } == {"numpy"}


def test_the_model_names_no_scheme():
    files = sorted((PACKAGE / "model").glob("*.py"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    names = [
        path.stem
        for path in (PACKAGE / "schemes").glob("*.py")
        if path.stem not in ("__init__", "base", "none")
    ]
    assert [name for name in names if re.search(rf"\b{name}\b", text)] == []


def test_what_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [
        line for extra in project["optional-dependencies"].values() for line in extra
    ]
    declared = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in lines}
    distributions = packages_distributions()
    names = {found.split(".")[0] for source in modules().values() for found in imported(source)}
    for name in names - set(sys.stdlib_module_names) - {"lengthgen"}:
        known_as = {found.lower().replace("_", "-") for found in distributions.get(name, [name])}
        assert known_as & declared, f"{name} ({known_as}) is imported and not declared"


def test_known_good_versions_satisfy_what_is_declared():
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [
        line for extra in project["optional-dependencies"].values() for line in extra
    ]
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    )
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for requirement in map(Requirement, lines):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement


def test_modules_say_what_they_are():
    assert [
        name for name, source in modules().items() if not ast.get_docstring(ast.parse(source))
    ] == []
