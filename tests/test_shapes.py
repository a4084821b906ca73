"""The shapes in annotations: a wrong one is refused in the tests, and users' runs check nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from lengthgen import model as models
from lengthgen.attention import dispatch
from lengthgen.model import ModelConfig
from lengthgen.schemes.base import Declaration, Scheme

H, T = 2, 8
SHAPE = ModelConfig(n_layers=1, n_heads=H, width=8)
TOKENS = torch.zeros(1, T, dtype=torch.long)


def planted(structure: str, result: torch.Tensor) -> models.Transformer:
    """A model around a user's scheme, which annotates nothing and returns `result` as its bias."""

    class Planted(Scheme):
        declaration = Declaration(
            paper="-", year=2026, acts_on="scores", sharing="-",
            prefix_consistent=True, shift_invariant=True, trained_reach="-", tail="-",
        )  # fmt: skip

    hook = "mix" if structure == "general" else structure
    setattr(Planted, "structure", structure)  # noqa: B010
    setattr(Planted, hook, lambda self, *arguments: result)
    return models.build(SHAPE, Planted, None, train_length=T, vocab_size=3, seed=0)


RIGHT = {
    "toeplitz": torch.zeros(H, T),
    "rows": torch.zeros(H, T, T),
    "gates": torch.zeros(1, H, T),
    "general": torch.zeros(1, H, T, SHAPE.width // H),
}


@pytest.mark.parametrize("structure", RIGHT)
def test_the_shapes_of_the_contract_pass(structure):
    assert planted(structure, RIGHT[structure])(TOKENS).shape == (1, T, SHAPE.width)


@pytest.mark.parametrize(
    ("structure", "wrong"),
    [
        ("toeplitz", torch.zeros(H + 1, T)),
        ("toeplitz", torch.zeros(H, T - 1)),
        ("toeplitz", torch.zeros(H, T, 1)),
        ("toeplitz", torch.zeros(H, T, dtype=torch.long)),
        ("rows", torch.zeros(H, T, T + 1)),
        ("rows", torch.zeros(1, H, T, T)),
        ("rows", torch.zeros(H, T, T, dtype=torch.bool)),
        ("general", torch.zeros(1, H, T)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype}{tuple(value.shape)}",
)
def test_a_scheme_that_returns_another_shape_or_dtype_is_refused(structure, wrong):
    with pytest.raises(TypeCheckError):
        planted(structure, wrong)(TOKENS)


def test_attention_and_the_model_refuse_shapes_that_do_not_fit_together():
    q = torch.zeros(1, H, T, 4)
    with pytest.raises(TypeCheckError):
        dispatch.attend(q, q[:, :1], q, None, 0.5)
    with pytest.raises(TypeCheckError):
        dispatch.attend(q.long(), q.long(), q.long(), None, 0.5)
    model = planted("toeplitz", RIGHT["toeplitz"])
    with pytest.raises(TypeCheckError):
        model.losses(TOKENS, TOKENS[:, :-1])


def test_users_runs_check_nothing():
    """And need no beartype."""
    code = (
        "import sys, torch\n"
        "from lengthgen.attention import dispatch\n"
        "assert not hasattr(dispatch.attend, '__wrapped__')\n"
        "q = torch.zeros(1, 2, 8, 4)\n"
        "try:\n"
        "    dispatch.chosen(q[0, 0], None, force='no kernel')\n"
        "except dispatch.ConfigError:\n"
        "    print('beartype' in sys.modules)\n"
    )
    root = Path(__file__).parents[1]
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (child.returncode, child.stdout) == (0, "False\n"), child.stderr
