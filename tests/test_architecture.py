"""Who may import whom: the arrows of the design, read from the sources. Imports inside functions count as well."""

import ast
import re
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lengthgen"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts).removeprefix("lengthgen.")


TREES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def imports(tree: ast.AST, nodes=None) -> set[str]:
    """Full names of what is imported; a name imported from a package of ours counts as the module, if it is one."""
    found = set()
    for node in ast.walk(tree) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full.removeprefix("lengthgen.") in TREES else node.module)
    return found


def at_import(tree: ast.Module) -> set[str]:
    """What is imported when the module is: its own statements, function bodies left out."""
    waiting, nodes = list(tree.body), []
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += list(ast.iter_child_nodes(node))
    return imports(tree, nodes)


def own(names: set[str]) -> set[str]:
    return {name.removeprefix("lengthgen.") for name in names if name.split(".")[0] == "lengthgen"} - {"lengthgen"}


def others(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"lengthgen"}


ARROWS = {name: own(imports(tree)) for name, tree in TREES.items()}
LIBRARIES = {name: others(imports(tree)) for name, tree in TREES.items()}
BASICS = {"errors", "structures", "typed"}
AROUND = {"modifiers.base", "modifiers.scaling", "modifiers.spans"}
STATISTICS = ("comparisons", "context", "power", "significance", "variance")
DRAWING = {"drawing", "layout", "palette", "records"}
SOURCES = {name for name in TREES if name.startswith("sources.")}


def test_every_module_is_read():
    assert {"cli", "run", "model", "schemes.t5_bias", "datasets.huggingface"} <= set(TREES)
    assert {"hydra_app", "arguments"} <= ARROWS["cli"]
    assert "torch" in LIBRARIES["listing"]  # an import inside a function is seen


def test_no_rings():
    assert list(TopologicalSorter(ARROWS).static_order())  # raises CycleError


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [
        (r"errors|structures|rotary|skew|palette|process|sweep|catalogue|evaluation\.statistics", set()),
        (r"typed|arguments", {"errors"}),
        (r"schemes\.(?!base$).*", {"schemes", "schemes.base", "schemes.wrapper", "rotary", "skew", *BASICS}),
        (r"schemes\.base", {"structures"}),
        (r"plugins", {"errors"}),
        (r"modifiers\..*", {"schemes.base", "schemes.wrapper", "plugins", *AROUND, *BASICS}),
        (
            r"retrofits\..*",
            {name for name in TREES if re.match(r"(schemes|retrofits)\.", name)} | {"plugins", "rotary", *AROUND, *BASICS},
        ),
        (r"kernels\..*", {name for name in TREES if name.startswith("kernels.")} | BASICS),
        (r"attention|linear", {name for name in TREES if name.startswith("kernels")} | BASICS),
        (r"model", {"attention", "linear", "schemes.base", *BASICS}),
        (r"train", {"model", "batches", "optim", "checkpoint", "distributed", *BASICS}),
        (r"datasets\.(?!base$).*", {"datasets.base", "datasets.synthetic", "datasets.tasks", "tokens", "hub", *SOURCES, *BASICS}),
        (r"sources(\..*)?", SOURCES),
        (r"records", {"errors"}),
        (r"diagnostics\.(settings|findings)", {"typed"}),
        (
            r"diagnostics\..*",
            {name for name in TREES if re.match(r"(diagnostics|kernels)\.", name)}
            | {"model", "schemes.base", "schemes.wrapper", "retrofits.rotary", "rotary", "structures", "typed"}
            | {"records", "layout", "drawing"},
        ),
        (
            r"evaluation\.(variance|comparisons|significance|multiplicity|verdicts|power|context|calibration)",
            {f"evaluation.{name}" for name in ("statistics", "variance", "comparisons", "significance", "multiplicity")} | BASICS,
        ),
        (r"evaluation\.planners", set()),
        (r"evaluation\.seen", {"evaluation.planners"}),
        (r"evaluation\.(stored|key_tokens|recall)", {f"evaluation.{name}" for name in ("comparisons", "statistics", "stored")} | BASICS),
        (r"drawing", {"layout", "records"}),
        (
            r"studies\.(report|extras|figure|files|markdown)",
            {f"studies.{n}" for n in ("claims", "extras", "figure", "files", "markdown")} | DRAWING | {"columns"},
        ),
        (r"studies\.(material|measured)", {f"evaluation.{n}" for n in STATISTICS} | {"records", "errors"}),
        (r"grids", {"errors"}),
        (r"origins", {"records"}),
        (r"references", {"grids", "origins", "records", "tables", "errors"}),
        (r"resolution", {"grids", "palette", "tables", "evaluation.comparisons", "evaluation.power"}),
        (
            r"calibrate",
            {"columns", "grids", "records", "tables", "errors", "evaluation.calibration", "evaluation.comparisons", "evaluation.power"},
        ),
        (r"answers", {"grids", "origins", "references", "tables", "evaluation.comparisons", "evaluation.context"}),
        (
            r"tables|curves|forest|layout|length_axis|markdown|plots",
            {
                "arguments",
                "columns",
                "tables",
                "curves",
                "drawing",
                "forest",
                "layout",
                "length_axis",
                "studies.report",
                "markdown",
                "answers",
                "origins",
                "references",
                "resolution",
                "records",
                "palette",
                *BASICS,
            }
            | {"evaluation.statistics", "evaluation.intervals"},
        ),
    ],
)
def test_arrows(modules, allowed):
    matching = [name for name in TREES if re.fullmatch(modules, name)]
    assert matching
    for name in matching:
        assert ARROWS[name] <= allowed, f"{name} imports {sorted(ARROWS[name] - allowed)}"


@pytest.mark.parametrize(
    ("library", "importers"),
    [
        ("hydra", r"hydra_app|hydra_errors"),
        ("wandb", r"tracking(\..*)?"),
        ("datasets", r"datasets\.(huggingface|text)"),
        ("tokenizers", r"tokenizers"),
        ("matplotlib", r"plots|curves|drawing|forest|layout|length_axis|(bench|studies)\.figure|diagnostics\.figures"),
    ],
)
def test_one_place_knows_a_library(library, importers):
    knowing = [name for name, libraries in LIBRARIES.items() if library in libraries]
    assert knowing
    assert [name for name in knowing if not re.fullmatch(importers, name)] == []


@pytest.mark.parametrize(
    ("module", "importers"),
    [
        ("cli", set()),
        ("run", {"hydra_app", "studies.running", "studies.costs"}),
        ("hydra_app", {"cli", "completion", "studies.running"}),
        ("studies.command", {"cli"}),
    ],
)
def test_who_stands_above(module, importers):
    assert {name for name, arrows in ARROWS.items() if module in arrows} == importers


@pytest.mark.parametrize(
    "module",
    ["cli", "arguments", "completion", "hydra_app", "listing", "mistakes", "sweep", "process", "records", "tables", "palette", "plots"],
)
def test_no_torch_at_import(module):
    reached, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        assert "torch" not in others(at_import(TREES[name])), f"{module} -> ... -> {name} -> torch"
        parents = {name.rpartition(".")[0]} - {""}  # importing a.b runs a/__init__.py
        waiting += [found for found in own(at_import(TREES[name])) | parents if found in TREES]


def test_sources_know_numpy_alone():
    assert set().union(*(LIBRARIES[name] for name in SOURCES)) == {"numpy"}


def test_the_model_names_no_scheme():
    text = (PACKAGE / "model.py").read_text(encoding="utf-8")
    names = [name.removeprefix("schemes.") for name in TREES if re.fullmatch(r"schemes\.(?!base$|none$).*", name)]
    assert [name for name in names if re.search(rf"\b{name}\b", text)] == []


def test_what_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    declared = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in lines}
    distributions = packages_distributions()
    for name in set().union(*LIBRARIES.values()):
        known_as = {found.lower().replace("_", "-") for found in distributions.get(name, [name])}
        assert known_as & declared, f"{name} ({known_as}) is imported and not declared"


def test_known_good_versions_satisfy_what_is_declared():
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    )
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for requirement in map(Requirement, lines):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement


def test_modules_say_what_they_are():
    assert [name for name, tree in TREES.items() if not ast.get_docstring(tree)] == []
