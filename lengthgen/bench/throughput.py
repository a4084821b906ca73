"""Tokens/s of training and of evaluation, every scheme against `none`, by the code of a run.

Training: training.loop.train, one step a call, batches included. tokens = B T.
Evaluation: evaluation.scoring.score on the default lengths and protocols, from one grid. tokens =
scored targets over all lengths and protocols: the same for every scheme, so that ratios of tokens/s
are ratios of time. FLOPs are those of the windows that were run.

Shape letters: B sequences, T tokens in a window.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from lengthgen import model as models
from lengthgen.bench import flops, peers
from lengthgen.bench.measuring import Candidate, Measured, quartiles, table
from lengthgen.bench.workload import SIZES, TRAIN_TOKENS, Place, Shape, batch, build, random_store
from lengthgen.data.tokens import TokenStore
from lengthgen.evaluation.protocols import (
    DEFAULT_PROTOCOLS,
    EvaluationConfig,
    Request,
    eval_lengths,
    plan,
)
from lengthgen.evaluation.scoring import Scored, score
from lengthgen.training import loop as training
from lengthgen.training import optim

BASELINE = "none"
FAR = 10**6  # steps of the schedule: the rate stays in its warm-up, and weights near their start

SPEED = ("tokens_per_second", "tokens_per_second_low", "tokens_per_second_high")
OF_NONE = ("of_none", "of_none_low", "of_none_high")
COST = (
    "seconds", "cpu_seconds", "gflops_per_second", "share_of_ceiling", "peak_mib", "parameters",
)  # fmt: skip
COLUMNS = (
    "bench", "candidate", "kind", "status", *SPEED, *OF_NONE, *COST, "tokens", "rounds", "clock",
    "threads", "device", "precision", *SIZES, "reason",
)  # fmt: skip
SHOWN = ("candidate", "tokens_per_second", *OF_NONE, *COST)


def training_candidates(
    shape: Shape, names: Sequence[str], where: Place, others: Iterable[peers.Peer], compiled: bool
) -> list[Candidate]:
    """One candidate a scheme, one a peer that is installed, and the matmul ceiling."""
    store = random_store(1, max(TRAIN_TOKENS, 2 * shape.length), shape.vocab)

    def batch_at(step: int):
        return batch(store, shape, step, where)

    tokens, work = shape.batch * shape.length, flops.train_step(shape)
    candidates = []
    for name in names:
        model = build(name, shape, where)
        call = train_step(model, batch_at, where, compiled)
        candidates.append(Candidate(name, "scheme", call, tokens, work, _shared(model)))
    for name, peer in peers.built(shape, others):
        step = peers.step(peer.to(where.device), batch_at, where.autocast)
        candidates.append(Candidate(name, "peer", step, tokens, work, peers.parameters(peer)))
    return [*candidates, ceiling(where)]


def _shared(model: models.Transformer) -> int:
    """Parameters without the scheme's: the same for every scheme."""
    counts = models.parameter_counts(model)
    return counts["total"] - counts["positional"]


def train_step(
    model: models.Transformer, batch_at: training.BatchAt, where: Place, compiled: bool = False
) -> Callable[[], None]:
    """A call that trains one step as a run does, with the default optimiser."""
    config = optim.OptimConfig()
    optimizer = optim.make_optimizer(model, config)
    state = training.TrainState(model, optimizer, optim.make_scheduler(optimizer, config, FAR))
    loss = torch.compile(model.total_loss) if compiled else None
    train = partial(training.train, state, batch_at, seed=0, clip=config.clip, total_loss=loss)
    return lambda: train(steps=state.step + 1, autocast=where.autocast)


def ceiling(where: Place, size: int | None = None) -> Candidate:
    call, work = flops.ceiling(where, size)
    return Candidate("matmul", "ceiling", call, flops=work)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Documents of random tokens and the requests of the default evaluation on them."""

    store: TokenStore
    requests: list[Request]
    config: EvaluationConfig

    @property
    def scored(self) -> int:
        """Targets over all lengths and protocols."""
        windows = (window for request in self.requests for window in request.windows)
        return sum(window.stop - window.first for window in windows)

    def score(
        self, model: models.Transformer, requests: list[Request], where: Place
    ) -> list[Scored]:
        batch, device, autocast = self.config.tokens_per_batch, where.device, where.autocast
        return score(
            model, self.store, requests, tokens_per_batch=batch, device=device, autocast=autocast
        )


def evaluation(shape: Shape, documents: int) -> Evaluation:
    """The default factors, blocks and batch sizes, at this training length.

    And the default protocols that no scheme refuses, so that all do the same work.
    """
    protocols = [name for name in DEFAULT_PROTOCOLS if name != "shuffled"]
    config = EvaluationConfig(documents=documents, protocols=protocols)
    lengths = eval_lengths(config, shape.length)
    store = random_store(documents, max(lengths) + config.blocks * shape.length + 1, shape.vocab)
    requests = plan(store.lengths, store.names, lengths, shape.length, config)
    return Evaluation(store, requests, config)


def evaluation_candidates(
    shape: Shape, names: Sequence[str], where: Place, documents: int, separate: Sequence[str]
) -> list[Candidate]:
    """One candidate a scheme; for those in `separate`, one more with a pass for each request."""
    wanted = evaluation(shape, documents)
    candidates = []
    for name in names:
        model = build(name, shape, where)
        passes = {name: [wanted.requests]}
        if name in separate:
            passes[f"{name}, separate passes"] = [[request] for request in wanted.requests]
        for label, groups in passes.items():
            work = sum(counted(model, wanted, group, shape) for group in groups)
            call = partial(_score_groups, model, wanted, groups, where)
            kind = "scheme" if label == name else "part"
            candidates.append(Candidate(label, kind, call, wanted.scored, work, _shared(model)))
    return [*candidates, ceiling(where)]


def _score_groups(
    model: models.Transformer, wanted: Evaluation, groups: list[list[Request]], where: Place
) -> None:
    for group in groups:
        wanted.score(model, group, where)


def counted(
    model: models.Transformer, wanted: Evaluation, group: list[Request], shape: Shape
) -> float:
    """FLOPs of the windows that scoring runs for a group of requests."""
    counter = _Counter(model, shape)
    wanted.score(counter, group, Place(torch.device("cpu"), "fp32"))
    return counter.flops


class _Counter(models.Transformer):
    """Stands in for a model while scoring: computes nothing, counts the windows."""

    def __init__(self, model: models.Transformer, shape: Shape):
        torch.nn.Module.__init__(self)
        self.scheme, self.shape, self.flops = model.scheme, shape, 0.0

    def losses(self, tokens: torch.Tensor, targets: torch.Tensor, first: int = 0) -> torch.Tensor:
        n, length = tokens.shape
        self.flops += n * flops.forward(self.shape, length, length - first)
        return torch.zeros(n, length - first)


def rows(bench: str, measured: Measured, shape: Shape, where: Place) -> list[dict[str, Any]]:
    """One row a candidate, with COLUMNS: medians and quartiles by the clock that counts."""
    # Paired within rounds too: the ceiling is one of the candidates.
    limits = [c for c in measured.candidates if c.kind == "ceiling"]
    limit = limits[0].flops / measured.seconds(limits[0].name) if limits else None

    def cells(candidate: Candidate, seconds: np.ndarray) -> dict[str, Any]:
        name, rate = candidate.name, candidate.flops / seconds
        row = {
            "kind": candidate.kind,
            "seconds": quartiles(measured.seconds(name, "wall"))[0],
            "cpu_seconds": quartiles(measured.seconds(name, "cpu"))[0],
            "gflops_per_second": quartiles(rate)[0] / 1e9,
            "share_of_ceiling": None if limit is None else quartiles(rate / limit)[0],
            "parameters": candidate.parameters or None,
            "tokens": candidate.tokens or None,
        }
        if candidate.tokens:
            row |= zip(SPEED, quartiles(candidate.tokens / seconds), strict=True)
            if (of_none := measured.ratio(BASELINE, name)) is not None:
                row |= zip(OF_NONE, of_none, strict=True)
        return row

    return table(measured, where, COLUMNS, cells, bench=bench, **dataclasses.asdict(shape))
