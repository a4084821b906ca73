"""Every oracle that a scheme declares is compared with it in these tests, and no other."""

import functools

import pytest

from lengthgen import modifiers, retrofits, schemes

from .oracle import MADE, compare, compared, table
from .scheme_cases import make

known = functools.cache(compared)  # it reads every test file


@pytest.mark.parametrize("name", schemes.names())
def test_declared_oracles_are_those_that_are_compared(name):
    declared = make(name).declaration.oracles
    assert len(declared) >= (1 if name == "none" else 2), (
        "two independent ones, or one and a float64 loop"
    )
    assert set(declared) == {oracle for scheme, oracle in known() if scheme == name}


@pytest.mark.parametrize("kind", [modifiers, retrofits], ids=["modifiers", "retrofits"])
def test_declared_oracles_of_what_goes_around_a_scheme_are_those_that_are_compared(kind):
    for name in kind.names():
        declared = kind.load(name).about.oracles
        assert declared and set(declared) == {
            oracle for scheme, oracle in known() if scheme == name
        }, name


def test_nothing_else_is_compared():
    assert {scheme for scheme, _ in known()} - {"x"} <= {
        *schemes.names(),
        *modifiers.names(),
        *retrofits.names(),
    }


def test_compare_refuses_what_differs_and_notes_it():
    before = len(MADE)
    with pytest.raises(AssertionError, match=r"off by 0\.5"):
        compare("x", "y", "z", [1.0, 2.0], [1.0, 2.5], 0.1)
    with pytest.raises(AssertionError):
        compare("x", "y", "z", [float("nan")], [1.0], 0.1)
    assert MADE[before].difference == 0.5
    assert "| x | y | z | 0.5 | 0.1 |" in table()
    del MADE[before:]
    assert "| x |" not in table()
