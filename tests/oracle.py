"""Comparisons with independent implementations, noted as they are made: `pytest tests --oracles
FILE` writes them as a table.

A scheme declares its oracles by name (`Declaration.oracles`), a modifier or retrofit its own
(`About.oracles`); test_oracles.py checks that each declared one is compared somewhere. With the
option only the tests that call `compare` themselves are run. What a session leaves out (-k, a
missing library) is listed below the table, so that a table of a part does not look like the whole.
"""

import ast
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from lengthgen.reporting import text_tables

MADE: list["Comparison"] = []


@dataclass(frozen=True)
class Comparison:
    scheme: str
    oracle: str
    what: str  # the quantity and the range that were compared
    difference: float  # largest absolute one
    bound: float


def compare(scheme: str, oracle: str, what: str, ours, theirs, atol: float) -> None:
    """Assert that two tensors agree to `atol` everywhere (0: exactly), and note the largest
    difference.

    scheme: file name of a scheme, retrofit or modifier; oracle: as in its declaration, for example
    "x-transformers", "float64 loop".
    """
    ours, theirs = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
    assert ours.shape == theirs.shape, (scheme, oracle, what, ours.shape, theirs.shape)
    assert ours.numel() > 0
    difference = float((ours - theirs).abs().max())
    assert not math.isnan(difference), (scheme, oracle, what)
    MADE.append(Comparison(scheme, oracle, what, difference, atol))
    assert difference <= atol, (
        f"{scheme} against {oracle}, {what}: off by {difference:.3g}, expected at most {atol:g}"
    )


def compared() -> set[tuple[str, str]]:
    """(scheme, oracle) of every call of `compare` with two literals in the tests, run or not."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", None) == "compare"
                and len(node.args) >= 2
            ):
                names = [
                    argument.value
                    for argument in node.args[:2]
                    if isinstance(argument, ast.Constant)
                ]
                if len(names) == 2:
                    found.add(tuple(names))
    return found


def table() -> str:
    """The comparisons of this session as Markdown, the largest difference of each kind, and what
    was not compared in it.
    """
    worst: dict[tuple, Comparison] = {}
    for made in MADE:
        key = (made.scheme, made.oracle, made.what)
        if key not in worst or made.difference > worst[key].difference:
            worst[key] = made
    lines = text_tables.markdown(
        ["scheme", "oracle", "compared", "largest absolute difference", "bound"],
        [[*key, f"{worst[key].difference:.2g}", f"{worst[key].bound:g}"] for key in sorted(worst)],
    )
    missing = sorted(compared() - {(made.scheme, made.oracle) for made in MADE} - {("x", "y")})
    if missing:
        lines += [
            "",
            "Not compared in this session: "
            + ", ".join(f"{scheme} ({oracle})" for scheme, oracle in missing),
        ]
    return "\n".join(lines) + "\n"
