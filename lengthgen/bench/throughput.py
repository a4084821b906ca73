"""Tokens/s of training and of evaluation, every scheme against `none`, through the code that a run goes through.

Training: train.train, one step a call, batches included. tokens = B T.
Evaluation: evaluation.scoring.score on the default lengths and protocols, from one grid. tokens = scored targets over all lengths and
protocols, the same for every scheme, so that ratios of tokens/s are ratios of time; FLOPs are counted for the windows that were really run.

Shape letters: B sequences, T tokens in a window.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from lengthgen import model as models
from lengthgen.bench import flops, peers
from lengthgen.bench.measuring import Candidate, Measured, quartiles
from lengthgen.bench.workload import TRAIN_TOKENS, Place, Shape, batch, build, random_store
from lengthgen.data.tokens import TokenStore
from lengthgen.evaluation.protocols import EvaluationConfig, Request, eval_lengths, plan
from lengthgen.evaluation.scoring import Scored, score
from lengthgen.training import loop as training
from lengthgen.training import optim

BASELINE = "none"
FAR = 10**6  # steps of the schedule: the rate stays in its warm-up, and weights near their start

COLUMNS = (
    "bench", "candidate", "kind", "status", "tokens_per_second", "tokens_per_second_low", "tokens_per_second_high", "of_none",
    "of_none_low", "of_none_high", "seconds", "cpu_seconds", "gflops_per_second", "share_of_ceiling", "peak_mib", "parameters", "tokens",
    "rounds", "clock", "threads", "device", "precision", "layers", "width", "heads", "length", "batch", "vocab", "reason",
)  # fmt: skip
SHOWN = (
    "candidate", "tokens_per_second", "of_none", "of_none_low", "of_none_high", "seconds", "cpu_seconds", "gflops_per_second",
    "share_of_ceiling", "peak_mib", "parameters",
)  # fmt: skip


def training_candidates(
    shape: Shape,
    names: Sequence[str],
    where: Place,
    others: Iterable[peers.Peer],
    compiled: bool,
    tell: Callable[[str], None],
) -> list[Candidate]:
    """One candidate a scheme, one a peer that is installed, and the matmul ceiling."""
    store = random_store(1, max(TRAIN_TOKENS, 2 * shape.length), shape.vocab)

    def batch_at(step: int):
        return batch(store, shape, step, where)

    work = {"tokens": shape.batch * shape.length, "flops": flops.train_step(shape)}
    found = []
    for name in names:
        model = build(name, shape, where)
        counts = models.parameter_counts(model)
        call = train_step(model, batch_at, where, compiled)
        found.append(
            Candidate(
                name, "scheme", call, **work, parameters=counts["total"] - counts["positional"]
            )
        )
    for name, peer in peers.built(shape, others, tell):
        call = peers.step(peer.to(where.device), batch_at, where.autocast)
        found.append(Candidate(name, "peer", call, **work, parameters=peers.parameters(peer)))
    return [*found, ceiling(where)]


def train_step(
    model: models.Transformer, batch_at: training.BatchAt, where: Place, compiled: bool = False
) -> Callable[[], None]:
    """A call that trains one step as a run does: batch, forward, backward, clipping, the optimiser of the default configuration."""
    config = optim.OptimConfig()
    optimizer = optim.make_optimizer(model, config)
    state = training.TrainState(model, optimizer, optim.make_scheduler(optimizer, config, FAR))
    losses = torch.compile(model.losses) if compiled else None

    def call() -> None:
        training.train(
            state,
            batch_at,
            steps=state.step + 1,
            seed=0,
            clip=config.clip,
            losses=losses,
            autocast=where.autocast,
        )

    return call


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
        return sum(
            window.stop - window.first for request in self.requests for window in request.windows
        )

    def score(
        self, model: models.Transformer, requests: list[Request], where: Place
    ) -> list[Scored]:
        return score(
            model,
            self.store,
            requests,
            tokens_per_batch=self.config.tokens_per_batch,
            device=where.device,
            autocast=where.autocast,
        )


def evaluation(shape: Shape, documents: int) -> Evaluation:
    """The default factors, protocols, blocks and batch sizes, at this training length."""
    config = EvaluationConfig(documents=documents)
    lengths = eval_lengths(config, shape.length)
    store = random_store(documents, max(lengths) + config.blocks * shape.length + 1, shape.vocab)
    return Evaluation(
        store, plan(store.lengths, store.names, lengths, shape.length, config), config
    )


def evaluation_candidates(
    shape: Shape, names: Sequence[str], where: Place, documents: int, separate: Sequence[str]
) -> list[Candidate]:
    """One candidate a scheme; for those in `separate` a second one, `separate_name`: each length and protocol by itself."""
    wanted = evaluation(shape, documents)
    found = []
    for name in names:
        model = build(name, shape, where)
        counts = models.parameter_counts(model)
        passes = {name: [wanted.requests]}
        if name in separate:
            passes[separate_name(name)] = [[request] for request in wanted.requests]
        for label, groups in passes.items():
            work = sum(counted(model, wanted, group, shape) for group in groups)
            call = _scoring(model, wanted, groups, where)
            kind = "scheme" if label == name else "part"
            found.append(
                Candidate(
                    label, kind, call, wanted.scored, work, counts["total"] - counts["positional"]
                )
            )
    return [*found, ceiling(where)]


def separate_name(scheme: str) -> str:
    return f"{scheme}, separate passes"


def _scoring(
    model: models.Transformer, wanted: Evaluation, groups: list[list[Request]], where: Place
) -> Callable[[], None]:
    def call() -> None:
        for group in groups:
            wanted.score(model, group, where)

    return call


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

    def losses(
        self, tokens: torch.Tensor, targets: torch.Tensor, first: int = 0
    ) -> torch.Tensor:
        n, length = tokens.shape
        self.flops += n * flops.forward(self.shape, length, length - first)
        return torch.zeros(n, length - first)


def rows(bench: str, measured: Measured, shape: Shape, where: Place) -> list[dict[str, Any]]:
    """One row a candidate, with COLUMNS; the values are medians over rounds by the clock that counts, low and high quartiles."""
    limits = [c for c in measured.candidates if c.kind == "ceiling"]
    limit = limits[0].flops / measured.seconds(limits[0].name) if limits else None
    constant = {
        "bench": bench, "clock": measured.clock, "threads": torch.get_num_threads(), "device": where.device.type,
        "precision": where.precision, **dataclasses.asdict(shape),
    }  # fmt: skip
    table = [constant | _row(candidate, measured, limit) for candidate in measured.candidates]
    table += [
        constant | {"candidate": name, "status": "failed", "reason": reason}
        for name, reason in measured.failed.items()
    ]
    return [{column: row.get(column) for column in COLUMNS} for row in table]


def _row(candidate: Candidate, measured: Measured, limit: np.ndarray | None) -> dict[str, Any]:
    seconds = measured.seconds(candidate.name)
    speed, low, high = quartiles(candidate.tokens / seconds)
    of_none = measured.ratio(BASELINE, candidate.name) if candidate.tokens else None
    rate = candidate.flops / seconds
    peak = max(sample.peak for sample in measured.samples[candidate.name])
    return {
        "candidate": candidate.name, "kind": candidate.kind, "status": "ok", "reason": "", "parameters": candidate.parameters or None,
        "tokens": candidate.tokens or None, "rounds": len(seconds),
        **dict(zip(("tokens_per_second", "tokens_per_second_low", "tokens_per_second_high"), (speed, low, high), strict=True)
               if candidate.tokens else ()),
        **dict(zip(("of_none", "of_none_low", "of_none_high"), of_none or (None,) * 3, strict=True)),
        "seconds": quartiles(measured.seconds(candidate.name, "wall"))[0],
        "cpu_seconds": quartiles(measured.seconds(candidate.name, "cpu"))[0],
        "gflops_per_second": quartiles(rate)[0] / 1e9, "share_of_ceiling": None if limit is None else quartiles(rate / limit)[0],
        "peak_mib": peak / 2**20 if peak else None,
    }  # fmt: skip
