"""python_packages: whole packages, imported modules first, the same order everywhere."""

import sysconfig

import pytest

from lengthgen.data.datasets.python_packages import imported, in_order
from lengthgen.data.splits import make_dataset
from lengthgen.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("module", "text", "names"),
    [
        ("p.a", b"import p.b, os as system\n", {"p.b", "os"}),
        ("p.a", b"from p import b, c as d\n", {"p", "p.b", "p.c"}),
        ("p.a", b"    from . import b\n", {"p", "p.b"}),
        ("p.q.a", b"from ..b import name\n", {"p.b", "p.b.name"}),
        ("p.q.__init__", b"from .b import *\n", {"p.q.b"}),
        ("p.a", b"from .b import (\n    one,\n    two,\n)\n", {"p.b", "p.b.one", "p.b.two"}),
        ("p.a", b"# from .b import c\nimportant = 1\nx = 'import y'\n", set()),
    ],
)
def test_what_a_module_imports(module, text, names):
    found = imported(module, text)
    assert names <= found and bool(found) == bool(names)
    assert {f"{name}.__init__" for name in names} <= found


def test_imported_modules_come_first_and_rings_by_name():
    modules = {
        "p.__init__": b"from .z import f\n",
        "p.a": b"from . import z\nfrom .ring2 import g\n",
        "p.lonely": b"x = 1\n",
        "p.ring1": b"from . import ring2\n",
        "p.ring2": b"from . import ring1\n",
        "p.z": b"import os\n",
    }
    order = in_order(modules)
    assert sorted(order) == sorted(modules)
    assert order.index("p.z") < order.index("p.__init__") and order.index("p.z") < order.index(
        "p.a"
    )
    assert order.index("p.ring2") < order.index("p.a")
    assert in_order(dict(reversed(modules.items()))) == order


def test_a_chain_of_a_thousand_imports_is_no_problem():
    chain = {f"p.m{i:04d}": f"from . import m{i + 1:04d}\n".encode() for i in range(3000)}
    assert in_order(chain) == sorted(chain, reverse=True)


@pytest.fixture
def site(tmp_path, monkeypatch):
    def package(name, files):
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)

    for i in range(12):
        package(f"p{i}", {"__init__.py": "from .util import f\n", "util.py": f"f = {i}\n" * 60})
    package("p3", {"tests/test_x.py": "leaked = 1\n", "_vendor/q/__init__.py": "leaked = 2\n"})
    package("huge", {"__init__.py": "x = 1\n" * 999})
    package("no_package", {"file.py": "x = 1\n" * 99})
    package("lengthgen", {"__init__.py": "x = 1\n" * 99})
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    return tmp_path


SIZES = {"name": "python_packages", "smallest": 100, "largest": 2000}


def documents(**changes):
    source = make_dataset(SIZES | changes)
    both = [{d.name: d.text for d in source.documents(split)} for split in ("train", "validation")]
    assert not both[0].keys() & both[1].keys()
    return both[0] | both[1]


def test_whole_packages_of_a_size_are_documents(site):
    found = documents()
    assert found.keys() == {f"p{i}" for i in range(12)}
    text = found["p3"].decode()
    assert text.startswith("# p3/util.py\nf = 3\n") and "leaked" not in text
    assert text.index("# p3/util.py") < text.index("# p3/__init__.py")
    assert documents(include=["huge"]).keys() == {"huge"}, "asked for by name: of any size"


def test_its_key_changes_with_the_files(site):
    source = make_dataset(SIZES)
    before = source.key()
    assert source.key() == before
    (site / "p5" / "util.py").write_text("f = 55\n" * 61)
    assert source.key() != before


def test_what_is_not_there_is_one_line(site):
    with pytest.raises(DataError, match=r"no packages of nowhere in .*; expected some"):
        list(make_dataset(SIZES | {"include": ["nowhere"]}).documents("train"))
    with pytest.raises(DataError, match="no packages of this size"):
        make_dataset(SIZES | {"smallest": 50_000, "largest": 60_000}).key()
    with pytest.raises(ConfigError, match="expected the second not below the first"):
        make_dataset(SIZES | {"smallest": 3000})
