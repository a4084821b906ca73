"""Several trainings as one program: one batched step, one optimiser over the stacked weights.

Each training keeps what it has alone: its batches, its random state, its optimiser's state (views
of the stacked one) and its learning rate. So its checkpoints are those of a training alone, which
either can resume.

A step whose loss or gradient is not finite is not done for any of them: `NotFinite` names those
that have to go on alone, where such steps are skipped (loop.py).
"""

import contextlib
import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from lengthgen.training import optim
from lengthgen.training.loop import Autocast, BatchAt, Norms, StepReport, TrainState, clip_gradients
from lengthgen.training.optim_settings import OptimConfig

# Inputs and targets (M, B, T) -> of each model the sum of its losses, in nats.
TotalLossesOf = Callable[[Tensor, Tensor], Sequence[Tensor]]


class Stack(Protocol):
    """Models whose weights are stacked (model/stack.py)."""

    @property
    def models(self) -> Sequence[nn.Module]: ...

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """(M, ...), of which each model's are views."""

    def total_losses(self, tokens: Tensor, targets: Tensor) -> Sequence[Tensor]: ...


@dataclass
class StackedState(TrainState):
    """The state of one of several trainings."""

    # Whose learning rate is stepped: that of a training with parameter groups like these.
    leader: TrainState | None = None

    def state_dict(self) -> dict:
        if self.leader is not None and self.leader is not self:
            self.scheduler.load_state_dict(copy.deepcopy(self.leader.scheduler.state_dict()))
            mine, theirs = self.optimizer.param_groups, self.leader.optimizer.param_groups
            for group, leading in zip(mine, theirs, strict=True):
                group["lr"] = leading["lr"]
        return super().state_dict()


@dataclass
class Member:
    """One of several trainings; its parts are the arguments of `loop.train`."""

    state: StackedState
    batch_at: BatchAt
    before_step: Callable[[int], None]
    after_reading: Callable[[Sequence[StepReport]], None]


class NotFinite(Exception):
    """A step that was not done: the loss or a gradient of `members` is not finite."""

    def __init__(self, members: Sequence[Member], step: int):
        super().__init__(f"step {step} has a loss or gradient that is not finite")
        self.members = list(members)


class StackedOptimizer:
    """One AdamW over the stacked weights and the parameters of every scheme."""

    def __init__(self, stack: Stack, states: Sequence[StackedState], config: OptimConfig):
        self.states = states
        self.leaders: list[StackedState] = []
        for state in states:
            alike = [each for each in self.leaders if _n_groups(each) == _n_groups(state)]
            state.leader = alike[0] if alike else state
            if not alike:
                self.leaders.append(state)
                # Its scheduler expects steps of its optimiser: this one makes them in its place.
                state.optimizer._opt_called = True  # type: ignore[attr-defined]
        shared = [(name, weight, weight.ndim > 2) for name, weight in stack.weights.items()]
        own = [
            (name, parameter, parameter.ndim > 1)
            for state in states
            for name, parameter in state.model.named_parameters()
            if name.startswith("scheme.")
        ]
        self.adamw = optim.adamw([*shared, *own], config)
        each = [dict(state.model.named_parameters()) for state in states]
        for name, weight in stack.weights.items():
            self._share(weight, [parameters[name] for parameters in each])
        for state in states:
            for name, parameter in state.model.named_parameters():
                if name.startswith("scheme."):
                    kept = state.optimizer.state
                    kept[parameter] = kept[parameter] or _at_rest(parameter)
                    self.adamw.state[parameter] = kept[parameter]

    def step(self) -> None:
        """Update every model, and move each learning rate on."""
        # The last group may be the schemes', which some models do not have.
        widest = max(self.leaders, key=_n_groups)
        for group, leading in zip(
            self.adamw.param_groups, widest.optimizer.param_groups, strict=True
        ):
            group["lr"] = leading["lr"]
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        for leader in self.leaders:
            leader.scheduler.step()
        for state in self.states:
            state.step += 1

    def _share(self, weight: nn.Parameter, parameters: Sequence[nn.Parameter]) -> None:
        """Stack the moments of one weight; those of each model are views from here on."""
        stored = [state.optimizer.state for state in self.states]
        each = [
            kept[parameter] or _at_rest(parameter)
            for kept, parameter in zip(stored, parameters, strict=True)
        ]
        moments = [name for name in each[0] if name != "step"]
        together = {name: torch.stack([one[name] for one in each]) for name in moments}
        together["step"] = each[0]["step"].clone()
        self.adamw.state[weight] = together
        for m, (kept, parameter) in enumerate(zip(stored, parameters, strict=True)):
            views = {name: together[name][m] for name in moments}
            kept[parameter] = {"step": together["step"], **views}


def train(
    members: Sequence[Member],
    stack: Stack,
    optimizer: StackedOptimizer,
    *,
    steps: int,
    accumulate: int = 1,
    clip: float = 1.0,
    total_losses: TotalLossesOf | None = None,
    n_scored: Callable[[Tensor], int | Tensor] = Tensor.numel,
    autocast: Autocast = contextlib.nullcontext,
    after_step: Callable[[Sequence[StepReport]], None] = lambda reports: None,
) -> None:
    """Train all members, which have done equally many steps, until they have done `steps`.

    total_losses: default, the stack's. after_step: gets the reports of all members. The numbers of
    every step are read. What `after_reading` of one member raises comes out after those of all
    others were called. NotFinite before an update that would spoil weights.
    """
    total_losses = total_losses or stack.total_losses
    for member in members:
        member.state.model.train()
    while members[0].state.step < steps:
        began, step = time.perf_counter(), members[0].state.step
        for member in members:
            member.before_step(step)
        batches = [member.batch_at(step) for member in members]
        inputs, targets = (torch.stack(parts) for parts in zip(*batches, strict=True))
        losses = _forward_backward(total_losses, inputs, targets, accumulate, autocast, n_scored)
        norms = [_clipped(stack, m, clip) for m in range(len(members))]
        totals = torch.stack([each.total for each in norms])
        numbers = torch.stack((losses, totals), 1).tolist()
        if bad := [m for m, pair in enumerate(numbers) if not all(map(math.isfinite, pair))]:
            optimizer.adamw.zero_grad(set_to_none=True)
            raise NotFinite([members[m] for m in bad], step + 1)
        rates = [float(state.scheduler.get_last_lr()[0]) for state in _leaders(members)]
        optimizer.step()
        seconds, tokens = time.perf_counter() - began, targets[0].numel()
        reports = [
            StepReport(step + 1, loss, rate, norm, tokens, seconds)
            for (loss, norm), rate in zip(numbers, rates, strict=True)
        ]
        after_step(reports)
        _tell(members, reports)


def _tell(members: Sequence[Member], reports: Sequence[StepReport]) -> None:
    """Every member of its step, whatever another raises: on a signal each of them saves."""
    first: BaseException | None = None
    for member, report in zip(members, reports, strict=True):
        try:
            member.after_reading([report])
        except Exception as error:
            first = first or error
    if first is not None:
        raise first


def _forward_backward(
    total_losses: TotalLossesOf,
    inputs: Tensor,
    targets: Tensor,
    accumulate: int,
    autocast: Autocast,
    n_scored: Callable[[Tensor], int | Tensor],
) -> Tensor:
    """Gradients of each model's mean loss. Returns these means (M,), in nats."""
    counts, means = [n_scored(each) for each in targets], []
    parts = zip(inputs.chunk(accumulate, 1), targets.chunk(accumulate, 1), strict=True)
    for some_inputs, some_targets in parts:
        with autocast():
            losses = total_losses(some_inputs, some_targets)
            each = torch.stack([loss / n for loss, n in zip(losses, counts, strict=True)])
        each.sum().backward()
        means.append(each.detach())
    return sum(means[1:], start=means[0])


def _clipped(stack: Stack, m: int, most: float) -> Norms:
    """Clip the gradients of model m, in place, and measure their norms."""
    for name, parameter in stack.models[m].named_parameters():
        if name in stack.weights:
            gradient = stack.weights[name].grad
            parameter.grad = None if gradient is None else gradient[m]
    return clip_gradients(stack.models[m], most)


def _leaders(members: Sequence[Member]) -> list[TrainState]:
    return [member.state.leader or member.state for member in members]


def _n_groups(state: TrainState) -> int:
    return len(state.optimizer.param_groups)


def _at_rest(parameter: nn.Parameter) -> dict[str, Tensor]:
    """AdamW's state of a parameter before its first step."""
    return {
        "step": torch.zeros((), device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }
