"""The training loop: state in, state out. Batches, saving and reporting are handed in.

Step k uses batch k and, where dropout is on, a random state that is a function of (seed, k). So a
run that stops after any step and resumes from its checkpoint computes what an uninterrupted one
does, bit for bit on CPU.

On a GPU no step waits for its numbers: the host reads losses and norms only after the steps that
`read_after` names. Meanwhile a loss or gradient that is not finite makes the optimiser leave the
weights alone, by a flag on the device.

Shape letters: B sequences of a step, T tokens in a window."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lengthgen.errors import NonFiniteError

# Step -> inputs (B, T), targets (B, T), both int64.
BatchAt = Callable[[int], tuple[Tensor, Tensor]]
# Inputs, targets -> the sum of their losses, in nats; a target that is not scored adds 0.
TotalLossOf = Callable[[Tensor, Tensor], Tensor]
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
    seconds: float  # a mean over the steps that were read together


def train(
    state: TrainState,
    batch_at: BatchAt,
    *,
    steps: int,
    seed: int,
    accumulate: int = 1,
    clip: float = 1.0,
    total_loss: TotalLossOf | None = None,
    n_scored: Callable[[Tensor], int | Tensor] = Tensor.numel,
    autocast: Autocast = contextlib.nullcontext,
    before_step: Callable[[int], None] = lambda step: None,
    read_after: Callable[[int], bool] = lambda step: True,
    after_reading: Callable[[Sequence[StepReport]], None] = lambda reports: None,
) -> None:
    """Train `state` until it has done `steps` steps.

    total_loss: default, the model's. n_scored: how many targets count (default: all). before_step:
    gets the step to come, from 0. read_after: whether the host reads the numbers of this step, from
    1, and of those before it that it has not read; the last one is read always. after_reading: gets
    what was read, the newest last, when that step is done; logs, saves, and may raise to stop.
    NonFiniteError when a loss or a gradient is not finite; the weights are then those before the
    step.
    """
    if total_loss is None:
        total_loss = cast(TotalLossOf, state.model.total_loss)
    state.model.train()
    unread = _Unread()
    while state.step < steps:
        # Dropout's random state: it must not depend on what ran before this step.
        torch.manual_seed((seed << 32) + state.step)
        before_step(state.step)
        inputs, targets = batch_at(state.step)
        try:
            loss = forward_backward(total_loss, inputs, targets, accumulate, autocast, n_scored)
        except Exception:
            # The caller may mend this step and go on: what is known of earlier ones is not lost.
            if unread.steps:
                after_reading(unread.reports(unread.read()))
            raise
        # Without clipping the norm is still measured, for the report and the check below.
        norm = clip_grad_norm_(state.model.parameters(), clip if clip > 0 else math.inf)
        lr = float(state.scheduler.get_last_lr()[0])
        unread.add(state.step + 1, loss, norm, lr, targets.numel())
        if state.step + 1 < steps and not read_after(state.step + 1):
            _update(state, unless=unread.bad)
            continue
        numbers = unread.read()
        _update(state)
        after_reading(unread.reports(numbers))
        unread = _Unread()


@dataclass
class _Unread:
    """Steps whose numbers are on the device still."""

    steps: list[tuple[int, Tensor, float, int]] = field(default_factory=list)
    bad: Tensor | None = None  # 1.0 from the first number on that is not finite, else 0.0
    began: float = field(default_factory=time.perf_counter)

    def add(self, step: int, loss: Tensor, norm: Tensor, lr: float, tokens: int) -> None:
        numbers = torch.stack((loss, norm))
        self.steps.append((step, numbers, lr, tokens))
        bad = (~numbers.isfinite().all()).float()
        self.bad = bad if self.bad is None else torch.maximum(self.bad, bad)

    def read(self) -> list[list[float]]:
        """Loss and norm of each step. Waits for the device. NonFiniteError."""
        numbers = torch.stack([both for _, both, _, _ in self.steps]).tolist()
        for (step, *_), (loss, norm) in zip(self.steps, numbers, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise NonFiniteError(
                    f"step {step}: loss {loss:.4g}, gradient norm {norm:.4g}; "
                    "expected finite numbers; lower optim.lr or raise optim.warmup"
                )
        return numbers

    def reports(self, numbers: list[list[float]]) -> list[StepReport]:
        seconds = (time.perf_counter() - self.began) / len(self.steps)
        return [
            StepReport(step, loss, lr, norm, tokens, seconds)
            for (step, _, lr, tokens), (loss, norm) in zip(self.steps, numbers, strict=True)
        ]


def _update(state: TrainState, unless: Tensor | None = None) -> None:
    """An optimiser step, which leaves the weights alone if `unless` is 1.0 on the device."""
    # The flag that torch's GradScaler sets; fused optimisers read it.
    state.optimizer.found_inf = unless  # type: ignore[attr-defined]
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.scheduler.step()
    state.step += 1


def forward_backward(
    total_loss: TotalLossOf,
    inputs: Tensor,
    targets: Tensor,
    accumulate: int,
    autocast: Autocast,
    n_scored: Callable[[Tensor], int | Tensor] = Tensor.numel,
) -> Tensor:
    """Gradients of the mean loss, in `accumulate` micro-batches. Returns that mean, in nats.

    Nothing here waits for a GPU.
    """
    count, means = n_scored(targets), []
    parts = zip(inputs.chunk(accumulate), targets.chunk(accumulate), strict=True)
    for some_inputs, some_targets in parts:
        with autocast():
            loss = total_loss(some_inputs, some_targets) / count
        loss.backward()
        means.append(loss.detach())
    return sum(means[1:], start=means[0])
