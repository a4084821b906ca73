"""The options of the group `optim`; AdamW and its learning rates: optim.py. No torch."""

from dataclasses import dataclass, field

from lengthgen.config import dataclass_from

SCHEDULES = ("cosine", "stable")


@dataclass
class OptimConfig:
    lr: float = 2e-3  # peak learning rate
    positional_lr: float = 1.0  # rate of the scheme's parameters / lr
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])  # AdamW's moment decay rates
    eps: float = 1e-8  # AdamW's denominator floor
    weight_decay: float = 0.1  # on weight matrices; never on norms
    positional_weight_decay: float = (
        0.0  # on the scheme's parameters; at 0, unused rows keep their values
    )
    # cosine: to final_lr at the last step; stable: constant until the last `decay` of the steps
    schedule: str = "cosine"
    warmup: float = 0.05  # share of the steps with a linearly rising rate
    decay: float = 0.2  # stable: share of the steps with a linearly falling rate
    final_lr: float = 0.1  # rate at the last step / peak
    clip: float = 1.0  # gradient norm is clipped to this; 0 = no clipping

    def __post_init__(self):
        not_negative = ("eps", "weight_decay", "positional_weight_decay", "clip")
        dataclass_from.limit(self, "optim", "> 0", "lr", "positional_lr")
        dataclass_from.limit(self, "optim", ">= 0", *not_negative)
        dataclass_from.choice("optim.schedule", self.schedule, SCHEDULES)
        for name in ("warmup", "decay"):
            share = getattr(self, name)
            dataclass_from.check(
                0 <= share < 1,
                f"optim.{name}={share}: expected a share of the steps, 0 <= {name} < 1",
            )
        dataclass_from.check(
            0 <= self.final_lr <= 1,
            f"optim.final_lr={self.final_lr}: expected a share of the peak rate, 0 to 1",
        )
        dataclass_from.check(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"optim.betas={self.betas}: expected two numbers in [0, 1)",
        )
