"""AdamW (fused) with linear warm-up and cosine decay, by torch's own optimiser and schedulers."""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from lengthgen.config import dataclass_from


@dataclass
class OptimConfig:
    lr: float = 2e-3  # peak learning rate
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])  # AdamW's moment decay rates
    eps: float = 1e-8  # AdamW's denominator floor
    weight_decay: float = 0.1  # on weight matrices; never on norms
    positional_weight_decay: float = 0.0  # on the scheme's parameters: rows that no gradient reaches then keep their initial value
    warmup: float = 0.05  # share of the steps with a linearly rising rate
    final_lr: float = 0.1  # rate at the last step / peak (cosine)
    clip: float = 1.0  # gradient norm is clipped to this; 0 = no clipping

    def __post_init__(self):
        dataclass_from.check(self.lr > 0, f"optim.lr={self.lr}: expected a positive number")
        dataclass_from.check(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"optim.betas={self.betas}: expected two numbers in [0, 1)",
        )
        dataclass_from.check(
            0 <= self.warmup < 1,
            f"optim.warmup={self.warmup}: expected a share of the steps, 0 <= warmup < 1",
        )
        dataclass_from.check(
            0 <= self.final_lr <= 1,
            f"optim.final_lr={self.final_lr}: expected a share of the peak rate, 0 to 1",
        )
        dataclass_from.check(
            min(self.weight_decay, self.positional_weight_decay, self.clip) >= 0,
            "optim.weight_decay, optim.positional_weight_decay, optim.clip: expected numbers >= 0",
        )


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """Three parameter groups: weight matrices (decayed), norms (not), the scheme's parameters (their own decay)."""
    named = list(model.named_parameters())
    positional = [p for name, p in named if name.startswith("scheme.")]
    matrices = [p for name, p in named if not name.startswith("scheme.") and p.ndim > 1]
    vectors = [p for name, p in named if not name.startswith("scheme.") and p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
        {"params": positional, "weight_decay": config.positional_weight_decay},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=tuple(config.betas),
        eps=config.eps,
        fused=True,
    )


def make_scheduler(
    optimizer: torch.optim.Optimizer, config: OptimConfig, steps: int
) -> LRScheduler:
    """Rate of step k (0-based): warm-up to the peak over `warmup * steps` steps, then a cosine to `final_lr * lr` at the last."""
    warm = max(1, round(config.warmup * steps))
    rise = (
        LinearLR(optimizer, start_factor=1 / warm, total_iters=warm - 1)
        if warm > 1
        else LinearLR(optimizer, 1.0, total_iters=0)
    )
    fall = CosineAnnealingLR(
        optimizer, T_max=max(1, steps - warm), eta_min=config.final_lr * config.lr
    )
    return SequentialLR(optimizer, [rise, fall], milestones=[warm])
