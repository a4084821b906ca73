"""AdamW (fused) and its learning rate by step, by torch's optimiser and schedulers.

Two schedules after a linear warm-up: a cosine, whose every rate depends on the last step; and
`stable`, a constant rate that falls linearly at the end (Hu et al. 2024, MiniCPM, arXiv 2404.06395:
warm-up, stable, decay), for a training whose end is not known when it begins (ending.py).
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    SequentialLR,
)

from lengthgen.training.optim_settings import OptimConfig


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """Of the parameters of one model."""
    named = model.named_parameters()
    return adamw(((name, parameter, parameter.ndim > 1) for name, parameter in named), config)


def adamw(
    named: Iterable[tuple[str, nn.Parameter, bool]], config: OptimConfig
) -> torch.optim.AdamW:
    """Three parameter groups, each with its decay: weight matrices, norms (0), the scheme's.

    named: names, parameters, and whether each is a matrix.
    """
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    positional: list[nn.Parameter] = []
    for name, parameter, is_matrix in named:
        if name.startswith("scheme."):
            positional.append(parameter)
        else:
            (matrices if is_matrix else vectors).append(parameter)
    decays = (config.weight_decay, 0.0, config.positional_weight_decay)
    rates = (config.lr, config.lr, config.lr * config.positional_lr)
    groups = [
        {"params": parameters, "weight_decay": decay, "lr": lr}
        for parameters, decay, lr in zip(
            (matrices, vectors, positional), decays, rates, strict=True
        )
        if parameters
    ]
    first, second = config.betas
    return torch.optim.AdamW(
        groups, lr=config.lr, betas=(first, second), eps=config.eps, fused=True
    )


def warm_up(config: OptimConfig, steps: int) -> int:
    """The number of steps with a rising rate."""
    return max(1, round(config.warmup * steps))


def make_scheduler(
    optimizer: torch.optim.Optimizer,
    config: OptimConfig,
    steps: int,
    end: Callable[[], int] | None = None,
) -> LRScheduler:
    """Warm-up over `warmup * steps` steps, then the schedule.

    end: the last step, as far as it is known (default: `steps`); asked at each step.
    """
    warm = warm_up(config, steps)
    if config.schedule == "cosine" and config.positional_lr == 1:
        # torch steps the cosine by recursion: its rounding is in the weights of every such run.
        # With one step of warm-up the factor is 1 and nothing rises.
        rise = LinearLR(optimizer, start_factor=1 / warm, total_iters=warm - 1)
        lowest = config.final_lr * config.lr
        fall = CosineAnnealingLR(optimizer, T_max=max(1, steps - warm), eta_min=lowest)
        return SequentialLR(optimizer, [rise, fall], milestones=[warm])
    last = end or (lambda: steps)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        if config.schedule == "cosine":
            left = (1 + math.cos(math.pi * (step - warm) / max(1, last() - warm))) / 2
        else:
            left = min(1.0, max(0, last() - step) / max(1, round(config.decay * last())))
        return config.final_lr + (1 - config.final_lr) * left

    return LambdaLR(optimizer, factor)
