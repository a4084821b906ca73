"""The retrofit that takes a rotation away: every layer is as its formula says, by a plain loop."""

import pytest
import torch

from lengthgen import retrofits
from lengthgen.errors import ConfigError
from lengthgen.schemes.alibi import slopes

from .oracle import compare
from .test_schemes import SMALL
from .wrapper_cases import bare, tensors, through_hooks

LENGTH = 24


def around(scheme, **options):
    kind = retrofits.load("rotation_replaced")
    return kind(kind.Config(**options), scheme)


def by_loop(layer, by, every, max_bias=8.0):
    """Attention of a changed layer: (H, T, D) float64, one query and one key at a time."""
    q, k, v, _ = (part[0] for part in tensors(LENGTH))
    out = torch.zeros_like(q)
    steep = slopes(SMALL.n_heads, max_bias).double()
    for h in range(SMALL.n_heads):
        for i in range(LENGTH):
            scores = torch.stack([q[h, i] @ k[h, j] / SMALL.head_dim**0.5 for j in range(i + 1)])
            if by == "alibi":
                scores -= steep[h] * (i - torch.arange(i + 1))
            out[h, i] = scores.softmax(0) @ v[h, : i + 1]
    return out


@pytest.mark.parametrize("scheme", ["rope", "rope_partial", "p_rope"])
@pytest.mark.parametrize(
    ("by", "every", "max_bias"), [("nothing", 1, 8.0), ("alibi", 1, 8.0), ("alibi", 2, 4.0)]
)
def test_layers_are_what_the_formula_says(scheme, by, every, max_bias):
    made = bare(scheme)
    changed = around(made, by=by, every=every, max_bias=max_bias)
    for layer in range(SMALL.n_layers):
        found = through_hooks(changed, LENGTH, layer)
        expected = (
            by_loop(layer, by, every, max_bias)
            if (layer + 1) % every == 0
            else through_hooks(made, LENGTH, layer)
        )
        what = f"attention output of {scheme}, {LENGTH} tokens, by {by}, every {every}"
        compare("rotation_replaced", "float64 loop", what, found, expected, 1e-5)


def test_around_another_retrofit_of_a_rotation():
    """As a model that was released with rope scaling has it."""
    kind = retrofits.load("yarn")
    changed = around(kind(kind.Config(factor=2.0), bare("rope")))
    torch.testing.assert_close(
        through_hooks(changed, LENGTH), by_loop(0, "nothing", 1), rtol=1e-5, atol=1e-6
    )


def test_what_it_refuses():
    kind = retrofits.load("rotation_replaced")
    for scheme in ("alibi", "learned", "t5_bias", "none"):
        assert "takes a rotation away" in kind.refuses(bare(scheme))
    with pytest.raises(ConfigError, match="so none would be changed"):
        around(bare("rope"), every=SMALL.n_layers + 1)
    with pytest.raises(ConfigError, match="expected one of nothing, alibi"):
        kind.Config(by="t5")
