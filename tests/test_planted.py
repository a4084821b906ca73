"""plant_bugs.py tells a bug that is caught from one that survives.

Whether the tests catch the bugs of planted.py takes minutes: `scripts/plant_bugs`.
"""

from dataclasses import replace

import pytest

from . import plant_bugs
from .plant_bugs import Broken, Outcome, planted
from .planted import LISTS, Bug

TOY = Bug("sign", "lengthgen/toy.py", "return a - b", "return b - a", "tests/test_toy.py")


def test_the_twenty_kinds_of_mistakes_with_positions_are_all_there():
    assert len({bug.kind for bug in LISTS["positions"]}) == 20


def test_evaluations_have_forty_kinds_of_mistakes_more():
    kinds = [{bug.kind for bug in LISTS[name]} for name in ("positions", "evaluation")]
    assert len(kinds[1] - kinds[0]) >= 40


@pytest.fixture
def toy(tmp_path):
    """A tree with one function and one test of it."""
    for name in plant_bugs.COPIED:
        (tmp_path / name).mkdir() if "." not in name else (tmp_path / name).write_text("")
    for name in ("lengthgen", "tests"):
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / TOY.file).write_text("def gap(a, b):\n    return a - b\n")
    (tmp_path / TOY.tests).write_text(
        "from lengthgen.toy import gap\n\n\ndef test_gap():\n    assert gap(3, 1) == 2\n"
    )
    return tmp_path


def test_caught_and_survived(toy, monkeypatch):
    def here(tree, tests, words):
        """`first_failure` of the toy's one test, in this process."""
        names = {}
        exec((tree / TOY.file).read_text(), names)
        return None if names["gap"](3, 1) == 2 else "tests/test_toy.py::test_gap"

    monkeypatch.setattr(plant_bugs, "first_failure", here)
    lines = []
    weak = replace(TOY, bug="return abs(a - b)")
    assert [one.test for one in plant_bugs.run([TOY, weak], toy, lines.append)] == [
        "tests/test_toy.py::test_gap",
        None,
    ]
    assert "caught" in lines[1] and "SURVIVED" in lines[2]
    assert "return a - b" in (toy / TOY.file).read_text()


def test_a_comparison_that_cannot_be_made_is_no_success(toy):
    with (
        pytest.raises(Broken, match="occurs 0 times"),
        planted(toy, replace(TOY, text="return a + b")),
    ):
        pass
    with pytest.raises(Broken, match="no test was chosen"):
        plant_bugs.first_failure(toy, TOY.tests, "nothing")
    (toy / TOY.file).write_text("def gap(a, b):\n    return a - b + 1\n")
    with pytest.raises(Broken, match="test_gap fails without any bug"):
        plant_bugs.run([TOY], toy, lambda line: None)


def test_choices_of_one_file_are_joined():
    bugs = [replace(TOY, words=words) for words in ("a and b", "c", "c")]
    bugs.append(replace(TOY, tests="other", words="d"))
    assert plant_bugs.chosen(bugs) == {TOY.tests: "(a and b) or (c)", "other": "(d)"}
    assert plant_bugs.chosen([*bugs, TOY])[TOY.tests] == ""


@pytest.mark.parametrize(("test", "code"), [("tests/test_x.py::test_y", 0), (None, 1)])
def test_exit_codes_and_log(test, code, monkeypatch, tmp_path):
    monkeypatch.setattr(
        plant_bugs, "run", lambda bugs, source, say: [Outcome(bug, test, 1.0) for bug in bugs]
    )
    assert plant_bugs.main(["--only", "wrap modulo", "--log", str(tmp_path / "log")]) == code
    assert (tmp_path / "log").read_text() == f"{1 - code} of 1 bugs caught, of 1 kinds\n"
