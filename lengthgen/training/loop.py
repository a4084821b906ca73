"""The training loop: state in, state out. Batches, saving and reporting are handed in.

Step k uses batch k and, where dropout is on, a random state that is a function of (seed, k). So a
run that stops after any step and resumes from its checkpoint computes what an uninterrupted one
does, bit for bit on CPU.

Shape letters: B sequences of a step, T tokens in a window."""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lengthgen.errors import NonFiniteError

# Step -> inputs (B, T), targets (B, T), both int64.
BatchAt = Callable[[int], tuple[Tensor, Tensor]]
# Inputs, targets -> per-token losses (B, T), 0 where a target is not scored.
LossesOf = Callable[[Tensor, Tensor], Tensor]
Autocast = Callable[[], contextlib.AbstractContextManager]


@dataclass
class TrainState:
    """What a checkpoint holds."""

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    step: int = 0  # steps done

    def state_dict(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.step = state["step"]


@dataclass(frozen=True)
class StepReport:
    """What one optimiser step did."""

    step: int  # steps done, this one included
    loss: float  # mean nats per scored target of the step's batch, before the update
    lr: float  # the rate that the update used
    grad_norm: float  # before clipping
    tokens: int  # target tokens in the step
    seconds: float


def train(
    state: TrainState,
    batch_at: BatchAt,
    *,
    steps: int,
    seed: int,
    accumulate: int = 1,
    clip: float = 1.0,
    losses: LossesOf | None = None,
    n_scored: Callable[[Tensor], int] = Tensor.numel,
    autocast: Autocast = contextlib.nullcontext,
    before_step: Callable[[int], None] = lambda step: None,
    after_step: Callable[[StepReport], None] = lambda report: None,
) -> None:
    """Train `state` until it has done `steps` steps.

    losses: default, the model's. n_scored: how many targets count (default: all). before_step: gets
    the step to come, from 0. after_step: logs, saves, and may raise to stop.
    NonFiniteError when a loss or a gradient is not finite; the weights are then those before the
    step.
    """
    if losses is None:
        losses = cast(LossesOf, state.model.losses)
    state.model.train()
    while state.step < steps:
        began = time.perf_counter()
        # Dropout's random state: it must not depend on what ran before this step.
        torch.manual_seed((seed << 32) + state.step)
        before_step(state.step)
        inputs, targets = batch_at(state.step)
        loss = forward_backward(losses, inputs, targets, accumulate, autocast, n_scored)
        # Without clipping the norm is still measured, for the report and the check below.
        grad_norm = float(clip_grad_norm_(state.model.parameters(), clip if clip > 0 else math.inf))
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise NonFiniteError(
                f"step {state.step + 1}: loss {loss:.4g}, gradient norm {grad_norm:.4g}; "
                "expected finite numbers; lower optim.lr or raise optim.warmup"
            )
        lr = float(state.scheduler.get_last_lr()[0])
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.scheduler.step()
        state.step += 1
        seconds = time.perf_counter() - began
        after_step(StepReport(state.step, loss, lr, grad_norm, targets.numel(), seconds))


def forward_backward(
    losses: LossesOf,
    inputs: Tensor,
    targets: Tensor,
    accumulate: int,
    autocast: Autocast,
    n_scored: Callable[[Tensor], int] = Tensor.numel,
) -> float:
    """Gradients of the mean loss, in `accumulate` micro-batches. Returns that mean, in nats."""
    count, means = n_scored(targets), []
    parts = zip(inputs.chunk(accumulate), targets.chunk(accumulate), strict=True)
    for some_inputs, some_targets in parts:
        with autocast():
            loss = losses(some_inputs, some_targets).sum() / count
        loss.backward()
        # A tensor still: reading the number here would make the CPU wait for the GPU.
        means.append(loss.detach())
    return float(sum(means))
