"""Learning rates step by step, and which parameters decay."""

import math

import pytest
import torch

from lengthgen.errors import ConfigError
from lengthgen.training import optim
from lengthgen.training.optim import OptimConfig


def rates(config, steps):
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = torch.optim.AdamW([parameter], lr=config.lr)
    scheduler = optim.make_scheduler(optimizer, config, steps)
    got = []
    for _ in range(steps):
        got.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return got


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("steps", [1, 2, 20, 100])
def test_linear_warm_up_then_cosine(steps):
    config = OptimConfig(lr=1.0, warmup=0.1, final_lr=0.1)
    warm = max(1, round(0.1 * steps))
    expected = [
        (k + 1) / warm
        if k < warm
        else 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (k - warm) / max(1, steps - warm)))
        for k in range(steps)
    ]
    assert rates(config, steps) == pytest.approx(expected, abs=1e-9)


def test_groups_norms_and_positions_do_not_decay():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 3, bias=False)
            self.norm = torch.nn.LayerNorm(3, bias=False)
            self.scheme = torch.nn.Embedding(4, 3)

    model = Model()
    before = {name: p.clone() for name, p in model.named_parameters()}
    optimizer = optim.make_optimizer(model, OptimConfig(lr=0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(model.scheme.weight, before["scheme.weight"])
    assert torch.equal(model.norm.weight, before["norm.weight"])
    torch.testing.assert_close(model.linear.weight, before["linear.weight"] * (1 - 0.1 * 0.5))


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.0},
        {"betas": [0.9]},
        {"betas": [0.9, 1.0]},
        {"warmup": 1.0},
        {"final_lr": 2.0},
        {"clip": -1.0},
    ],
)
def test_impossible_values_name_their_key(change):
    with pytest.raises(ConfigError, match=f"optim.{next(iter(change))}"):
        OptimConfig(**change)


@pytest.mark.parametrize("steps", [1, 20, 100])
def test_a_stable_rate_falls_at_the_end_alone(steps):
    config = OptimConfig(lr=1.0, schedule="stable", warmup=0.1, decay=0.2, final_lr=0.1)
    got, warm, falling = rates(config, steps), max(1, steps // 10), max(1, steps // 5)
    assert got[:warm] == pytest.approx([(k + 1) / warm for k in range(warm)])
    assert got[warm : steps - falling] == pytest.approx([1.0] * max(0, steps - falling - warm))
    if steps > 1:
        assert got[-1] == pytest.approx(0.1 + 0.9 / falling)


def test_the_stable_rate_falls_when_the_end_has_moved():
    config = OptimConfig(lr=1.0, schedule="stable", warmup=0.0, decay=0.5, final_lr=0.0)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2, 2))], lr=1.0)
    end = [100]
    scheduler = optim.make_scheduler(optimizer, config, 100, lambda: end[0])
    got = []
    for step in range(8):
        if step == 4:
            end[0] = 8
        got.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    # The rate of the step after the move was set before it.
    assert got == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("schedule", ["cosine", "stable"])
def test_the_schemes_parameters_have_a_rate_of_their_own(schedule):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scheme = torch.nn.Linear(2, 2)
            self.head = torch.nn.Linear(2, 2)

    def at_each_step(factor):
        config = OptimConfig(lr=0.01, positional_lr=factor, schedule=schedule, warmup=0.2)
        optimizer = optim.make_optimizer(Model(), config)
        scheduler = optim.make_scheduler(optimizer, config, 10)
        got = []
        for _ in range(10):
            got.append(scheduler.get_last_lr())
            optimizer.step()
            scheduler.step()
        return torch.tensor(got).T

    (matrices, _, same), (of_matrices, _, scaled) = at_each_step(1.0), at_each_step(4.0)
    assert torch.allclose(same, matrices) and torch.allclose(of_matrices, matrices)
    assert torch.allclose(scaled, 4 * matrices)


@pytest.mark.parametrize(
    "options", [{"schedule": "linear"}, {"decay": 1.0}, {"positional_lr": 0.0}]
)
def test_rates_that_cannot_be(options):
    with pytest.raises(ConfigError, match=r"optim\..*expected"):
        OptimConfig(**options)
