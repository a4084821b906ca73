"""AdamW (fused) with linear warm-up and cosine decay, by torch's optimiser and schedulers."""

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
    positional_weight_decay: float = (
        0.0  # on the scheme's parameters; at 0, unused rows keep their values
    )
    warmup: float = 0.05  # share of the steps with a linearly rising rate
    final_lr: float = 0.1  # rate at the last step / peak (cosine)
    clip: float = 1.0  # gradient norm is clipped to this; 0 = no clipping

    def __post_init__(self):
        not_negative = ("weight_decay", "positional_weight_decay", "clip")
        dataclass_from.limit(self, "optim", "> 0", "lr")
        dataclass_from.limit(self, "optim", ">= 0", *not_negative)
        dataclass_from.check(
            0 <= self.warmup < 1,
            f"optim.warmup={self.warmup}: expected a share of the steps, 0 <= warmup < 1",
        )
        dataclass_from.check(
            0 <= self.final_lr <= 1,
            f"optim.final_lr={self.final_lr}: expected a share of the peak rate, 0 to 1",
        )
        dataclass_from.check(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"optim.betas={self.betas}: expected two numbers in [0, 1)",
        )


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """Three parameter groups, each with its decay: weight matrices, norms (0), the scheme's."""
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    positional: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if name.startswith("scheme."):
            positional.append(parameter)
        else:
            (matrices if parameter.ndim > 1 else vectors).append(parameter)
    decays = (config.weight_decay, 0.0, config.positional_weight_decay)
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in zip((matrices, vectors, positional), decays, strict=True)
        if parameters
    ]
    first, second = config.betas
    return torch.optim.AdamW(
        groups, lr=config.lr, betas=(first, second), eps=config.eps, fused=True
    )


def make_scheduler(
    optimizer: torch.optim.Optimizer, config: OptimConfig, steps: int
) -> LRScheduler:
    """Warm-up over `warmup * steps` steps, then a cosine to `final_lr * lr` at the last."""
    warm = max(1, round(config.warmup * steps))
    # With one step of warm-up the factor is 1 and nothing rises.
    rise = LinearLR(optimizer, start_factor=1 / warm, total_iters=warm - 1)
    fall = CosineAnnealingLR(
        optimizer, T_max=max(1, steps - warm), eta_min=config.final_lr * config.lr
    )
    return SequentialLR(optimizer, [rise, fall], milestones=[warm])
