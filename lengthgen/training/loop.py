"""The training loop: state in, state out. Batches, saving and reporting are handed in.

Step k uses batch k and, where dropout is on, a random state that is a function of (seed, k). So a
run that stops after any step and resumes from its checkpoint computes what an uninterrupted one
does, bit for bit on CPU.

A loss or gradient that is not finite makes the optimiser leave the weights alone, by a flag on the
device; the report of that step says so. On a GPU no step waits for its numbers: the host reads
losses and norms only after the steps that `read_after` names.

Shape letters: B sequences of a step, T tokens in a window."""

import contextlib
import math
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lengthgen.errors import NonFiniteError
from lengthgen.training.parallel import IN_ONE_PROCESS, Parallel, TotalLossOf

# Step -> inputs (B, T), targets (B, T), both int64.
BatchAt = Callable[[int], tuple[Tensor, Tensor]]
Autocast = Callable[[], contextlib.AbstractContextManager]
EXPECTED = "expected finite numbers; lower optim.lr or raise optim.warmup"


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
    left_out: bool = False  # its batch was not computed, at the caller's wish
    bad_parameter: str = ""  # the first whose gradient is not finite

    @property
    def finite(self) -> bool:
        """Whether loss and gradient are; if not, the weights were left alone."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)

    @property
    def fault(self) -> str:
        """What is not finite, in words."""
        where = f", first in {self.bad_parameter}" if self.bad_parameter else ""
        return f"loss {self.loss:.4g}, gradient norm {self.grad_norm:.4g}{where}"


def stop_if_not_finite(reports: Sequence[StepReport]) -> None:
    """NonFiniteError for the first step whose update was skipped."""
    for report in reports:
        if not report.finite:
            raise NonFiniteError(f"step {report.step}: {report.fault}; {EXPECTED}")


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
    after_reading: Callable[[Sequence[StepReport]], None] = stop_if_not_finite,
    left_out: Container[int] = (),
    parallel: Parallel = IN_ONE_PROCESS,
) -> None:
    """Train `state` until it has done `steps` steps.

    total_loss: default, the model's. n_scored: how many targets count (default: all). before_step:
    gets the step to come, from 0. read_after: whether the host reads the numbers of this step, from
    1, and of those before it that it has not read; the last one is read always. after_reading: gets
    what was read, the newest last, when that step is done; logs, saves, and may raise to stop
    (default: NonFiniteError after a step whose loss or gradient is not finite; the weights are then
    those before the step). left_out: steps, from 1, whose batches are not to be computed.
    parallel: over which ranks, each of which gets its rows of a batch; what is reported is of all.
    """
    if total_loss is None:
        total_loss = cast(TotalLossOf, state.model.total_loss)
    total_loss = parallel.total_loss(total_loss)
    state.model.train()
    unread = _Unread()
    while state.step < steps:
        # Dropout's random state: it must not depend on what ran before this step.
        torch.manual_seed((seed << 32) + state.step)
        before_step(state.step)
        lr = float(state.scheduler.get_last_lr()[0])
        if state.step + 1 in left_out:
            before = unread.reports() if unread.steps else []
            _update(state)  # without gradients: the rate moves on, and nothing else
            nothing = StepReport(state.step, math.nan, lr, math.nan, 0, 0.0, left_out=True)
            after_reading([*before, nothing])
            unread = _Unread()
            continue
        inputs, targets = batch_at(state.step)
        try:
            loss = forward_backward(
                total_loss, inputs, targets, accumulate, autocast, n_scored, parallel
            )
        except Exception:
            # The caller may mend this step and go on: what is known of earlier ones is not lost.
            if unread.steps:
                after_reading(unread.reports())
            raise
        norms = clip_gradients(state.model, clip, parallel)
        tokens = targets.numel() * parallel.ranks.size
        bad = unread.add(state.step + 1, loss, norms, lr, tokens)
        if state.step + 1 < steps and not read_after(state.step + 1):
            _update(state, unless=bad)
            continue
        finite = all(map(math.isfinite, unread.read()[-1]))
        _update(state, unless=None if finite else bad)
        after_reading(unread.reports())
        unread = _Unread()


@dataclass(frozen=True)
class Norms:
    """Of the gradients, before clipping: each parameter's, and that of all."""

    names: list[str]
    each: Tensor
    total: Tensor

    def first_bad(self) -> str:
        """The first parameter whose gradient is not finite; "" if all are. Waits for the device."""
        finite = self.each.isfinite().tolist()
        return next((name for name, good in zip(self.names, finite, strict=True) if not good), "")


def clip_gradients(model: nn.Module, most: float, parallel: Parallel = IN_ONE_PROCESS) -> Norms:
    """Clip the gradients' norm to `most`; 0: only measure it.

    As torch's clip_grad_norm_, which keeps the total alone: a NaN would then be in every gradient.
    """
    named = {name: p for name, p in model.named_parameters() if p.grad is not None}
    each = parallel.norms([cast(Tensor, p.grad) for p in named.values()])
    total = torch.linalg.vector_norm(each)
    if most > 0:
        clip_grads_with_norm_(named.values(), most, total)
    return Norms(list(named), each, total)


@dataclass
class _Unread:
    """Steps whose numbers are on the device still."""

    steps: list[tuple[int, Tensor, Norms, float, int]] = field(default_factory=list)
    numbers: list[list[float]] = field(default_factory=list)  # loss and norm, once they are read
    began: float = field(default_factory=time.perf_counter)

    def add(self, step: int, loss: Tensor, norms: Norms, lr: float, tokens: int) -> Tensor:
        """Returns 1.0, on the device, if a number of the step is not finite, else 0.0."""
        both = torch.stack((loss, norms.total))
        self.steps.append((step, both, norms, lr, tokens))
        return (~both.isfinite().all()).float()

    def read(self) -> list[list[float]]:
        """Loss and norm of each step. Waits for the device."""
        if len(self.numbers) < len(self.steps):
            self.numbers = torch.stack([both for _, both, *_ in self.steps]).tolist()
        return self.numbers

    def reports(self) -> list[StepReport]:
        numbers, reports = self.read(), []
        seconds = (time.perf_counter() - self.began) / len(self.steps)
        for (step, _, norms, lr, tokens), (loss, norm) in zip(self.steps, numbers, strict=True):
            bad = "" if math.isfinite(norm) else norms.first_bad()
            reports.append(StepReport(step, loss, lr, norm, tokens, seconds, bad_parameter=bad))
        return reports


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
    parallel: Parallel = IN_ONE_PROCESS,
) -> Tensor:
    """Gradients of the mean loss, in `accumulate` micro-batches. Returns that mean, in nats.

    Nothing here waits for a GPU.
    """
    count, means = n_scored(targets), []
    parts = zip(inputs.chunk(accumulate), targets.chunk(accumulate), strict=True)
    for number, (some_inputs, some_targets) in enumerate(parts, start=1):
        with contextlib.nullcontext() if number == accumulate else parallel.unsummed():
            with autocast():
                loss = total_loss(some_inputs, some_targets) / count
            loss.backward()
        means.append(loss.detach())
    return parallel.ranks.mean(sum(means[1:], start=means[0]))
