"""What no file of the package may call: unsafe loads, shells, code made of text."""

import ast
from collections.abc import Iterator

# Modules that run code while they read data.
UNSAFE_MODULES = {"pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "runpy", "pty"}
# Calls by their full name, after imports and aliases.
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "breakpoint"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all"),
    *("torch.hub.load", "torch.jit.load", "torch.package.PackageImporter", "tempfile.mktemp"),
    *("hydra.utils.instantiate", "hydra.utils.call", "hydra.utils.get_class"),
    *("hydra.utils.get_method", "hydra.utils.get_object", "code.interact"),
    *("importlib.util.spec_from_file_location", "importlib.machinery.SourceFileLoader"),
    *("pandas.read_pickle", "shutil.unpack_archive", "ssl._create_unverified_context"),
}
FORBIDDEN_STARTS = ("os.exec", "os.spawn", "os.posix_spawn")
# Methods that make code of a file, whatever object has them.
FORBIDDEN_METHODS = {"exec_module", "source_to_code", "load_module"}
SAFE_LOADERS = {"SafeLoader", "CSafeLoader"}


def faults(source: str) -> Iterator[tuple[int, str]]:
    """(line, what is called there) of all that a source may not call."""
    tree = ast.parse(source)
    names = _names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for module in _modules(node):
                if module.partition(".")[0] in UNSAFE_MODULES:
                    yield node.lineno, module
        elif isinstance(node, ast.Call):
            called = _dotted(node.func, names)
            if _is_unsafe(called, node):
                yield node.lineno, called
        elif isinstance(node, ast.ClassDef):
            for base in node.bases:
                if _dotted(base, names) in FORBIDDEN:
                    yield node.lineno, _dotted(base, names)


def _is_unsafe(called: str, node: ast.Call) -> bool:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    last = called.rpartition(".")[2]
    if called in FORBIDDEN or called.startswith(FORBIDDEN_STARTS) or last in FORBIDDEN_METHODS:
        return True
    if called == "torch.load":
        return not _is(given.get("weights_only"), True)
    if called in ("numpy.load", "numpy.lib.format.read_array"):
        return "allow_pickle" in given and not _is(given["allow_pickle"], False)
    if called in ("yaml.load", "yaml.load_all"):
        loader = given.get("Loader") or (node.args[1] if len(node.args) > 1 else None)
        return loader is None or _dotted(loader, {}).rpartition(".")[2] not in SAFE_LOADERS
    if called == "importlib.import_module":
        return not (node.args and isinstance(node.args[0], ast.Constant))
    if last in ("extractall", "extract") and "." in called:
        return not _is(given.get("filter"), "data")
    # `shell=` of subprocess, `trust_remote_code=` and `verify=` of what fetches.
    return (
        ("shell" in given and not _is(given["shell"], False))
        or ("trust_remote_code" in given and not _is(given["trust_remote_code"], False))
        or _is(given.get("verify"), False)
    )


def _is(value: ast.expr | None, wanted: object) -> bool:
    return isinstance(value, ast.Constant) and value.value == wanted


def _names(tree: ast.AST) -> dict[str, str]:
    """The full name of each name that an import binds."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    names[alias.asname] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names]


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    """`np.load` -> `numpy.load`; a part that is no name is `?`."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return "?"
