"""LongRoPE's factors: where they act, and the search for them on a loss whose least value is
known."""

import math

import pytest
import torch

from .test_retrofits_rotary import CPU, L, around, make


def test_longrope_leaves_the_first_positions_alone():
    given = {"factors": [1.0, 2.0, 3.0, 4.0], "temperature": False}
    plain, started = around("longrope", given), around("longrope", {**given, "start_tokens": 5})
    positions = torch.arange(20)
    own = positions.double()[:, None] * make("rope", {}).spectrum.frequencies(CPU)
    assert torch.equal(started.angles(positions)[:5], own[:5])
    assert torch.equal(started.angles(positions)[5:], plain.angles(positions)[5:])
    assert torch.allclose(
        plain.angles(positions), own / torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    )


def searched(best, looks: int = 64, **options):
    """A LongRoPE whose loss is least at the factors `best`, after its search; and the lengths that
    it asked about."""
    retrofit, asked = around("longrope", {"looks": looks, **options}), []

    def loss_of(length: int) -> float:
        asked.append(length)
        assert list(retrofit.factors) == sorted(retrofit.factors) and retrofit.factors[0] >= 1
        return sum(
            (math.log(x) - math.log(y)) ** 2 for x, y in zip(retrofit.factors, best, strict=True)
        )

    retrofit.calibrate(loss_of)
    return retrofit, asked


def test_search_finds_the_factors_of_the_least_loss():
    retrofit, asked = searched([1.0, 1.6, 2.5, 7.0], looks=200)
    assert retrofit.factors == pytest.approx([1.0, 1.6, 2.5, 7.0], rel=0.05)
    assert set(asked) == {4 * L} and len(asked) <= 200
    found = retrofit.search_result
    assert found["factors"] == list(retrofit.factors) and found["looks"] == len(asked)
    assert found["loss"] < min(found[f"loss_{start}"] for start in ("yarn", "ntk", "linear"))
    assert "searched" in retrofit.declaration.tail


@pytest.mark.parametrize("looks", [3, 7, 20])
def test_search_keeps_to_its_looks_is_deterministic_and_never_worse_than_its_starts(looks):
    first, asked = searched([1.0, 3.0, 3.5, 3.6], looks=looks)
    again, _ = searched([1.0, 3.0, 3.5, 3.6], looks=looks)
    assert (
        len(asked) == looks
        and first.factors == again.factors
        and first.search_result == again.search_result
    )
    assert first.search_result["loss"] <= min(
        first.search_result[f"loss_{start}"] for start in ("yarn", "ntk", "linear")
    )


def test_search_survives_losses_that_are_not_finite():
    retrofit = around("longrope", {"looks": 10})
    retrofit.calibrate(lambda length: float("nan"))
    assert retrofit.factors == pytest.approx(retrofit.starts()["yarn"])


def test_given_factors_are_not_searched():
    retrofit = around("longrope", {"factors": [1.0, 2.0, 3.0, 4.0]})
    retrofit.calibrate(lambda length: pytest.fail("asked for a loss"))
    assert (
        retrofit.factors == (1.0, 2.0, 3.0, 4.0)
        and retrofit.search_result == {}
        and "given" in retrofit.declaration.tail
    )


def test_starts_are_what_the_methods_themselves_do():
    retrofit = around("longrope", {})
    own = make("rope", {}).spectrum.frequencies(CPU)
    for start, method, options in (
        ("yarn", "yarn", {}),
        ("ntk", "ntk", {"alpha": 4.0}),
        ("linear", "position_interpolation", {}),
    ):
        theirs = around(method, options or {"factor": 4.0}).frequencies(64, CPU)
        assert torch.allclose(
            own / torch.tensor(retrofit.starts()[start]).double(), theirs, rtol=1e-6
        )
