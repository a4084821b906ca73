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
