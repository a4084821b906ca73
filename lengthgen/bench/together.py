"""Training several models as one program, beside the same models one after the other.

Both take one optimiser step of every model a call, batches included. tokens = M B T.

Shape letters: M models, B windows, T tokens in a window.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from lengthgen.bench import flops, throughput
from lengthgen.bench.measuring import Candidate, Measured, quartiles, table
from lengthgen.bench.workload import SIZES, TRAIN_TOKENS, Place, Shape, batch, build, random_store
from lengthgen.model.stack import Stack
from lengthgen.training import optim
from lengthgen.training import stacked as training

SCHEMES = ("learned", "sinusoidal", "none", "rope", "alibi", "t5_bias")
ALONE = "one after the other"
SPEED = throughput.SPEED
OF_ALONE = ("of_alone", "of_alone_low", "of_alone_high")
COLUMNS = (
    "bench", "candidate", "status", "models", *SPEED, *OF_ALONE, "seconds", "cpu_seconds",
    "peak_mib", "tokens", "rounds", "clock", "threads", "device", "precision", *SIZES, "reason",
)  # fmt: skip
SHOWN = ("candidate", "tokens_per_second", *OF_ALONE, "seconds", "cpu_seconds")


def candidates(
    shape: Shape, names: Sequence[str], models: int, where: Place, compiled: bool
) -> list[Candidate]:
    """The schemes `names` in turn, until there are so many models."""
    schemes = [names[m % len(names)] for m in range(models)]
    store = random_store(1, max(TRAIN_TOKENS, 2 * shape.length), shape.vocab)

    def batch_at(step: int) -> Any:
        return batch(store, shape, step, where)

    each = [
        throughput.train_step(build(name, shape, where), batch_at, where, compiled)
        for name in schemes
    ]

    def alone() -> None:
        for step in each:
            step()

    built = [build(name, shape, where) for name in schemes]
    config = optim.OptimConfig()
    states = []
    for model in built:
        optimizer = optim.make_optimizer(model, config)
        scheduler = optim.make_scheduler(optimizer, config, throughput.FAR)
        states.append(training.StackedState(model, optimizer, scheduler))
    stack = Stack(built)
    stepping = training.StackedOptimizer(stack, states, config)
    members = [
        training.Member(state, batch_at, lambda step: None, lambda reports: None)
        for state in states
    ]
    losses = torch.compile(stack.total_losses) if compiled else stack.total_losses
    train = partial(
        training.train, members, stack, stepping, clip=config.clip, total_losses=losses,
        autocast=where.autocast,
    )  # fmt: skip
    work, tokens = models * flops.train_step(shape), models * shape.batch * shape.length
    return [
        Candidate(ALONE, "part", alone, tokens, work),
        Candidate("together", "part", lambda: train(steps=states[0].step + 1), tokens, work),
    ]


def rows(measured: Measured, shape: Shape, models: int, where: Place) -> list[dict[str, Any]]:
    """One row a candidate, with COLUMNS: medians and quartiles by the clock that counts."""

    def cells(candidate: Candidate, seconds: np.ndarray) -> dict[str, Any]:
        row = {
            "seconds": quartiles(measured.seconds(candidate.name, "wall"))[0],
            "cpu_seconds": quartiles(measured.seconds(candidate.name, "cpu"))[0],
            "tokens": candidate.tokens,
        }
        row |= zip(SPEED, quartiles(candidate.tokens / seconds), strict=True)
        if (of_alone := measured.ratio(ALONE, candidate.name)) is not None:
            row |= zip(OF_ALONE, of_alone, strict=True)
        return row

    sizes = {name: getattr(shape, name) for name in SIZES}
    return table(measured, where, COLUMNS, cells, bench="together", models=models, **sizes)
