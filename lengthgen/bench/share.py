"""The share of a default run that its evaluation takes.

A default run is `steps` training steps and the evaluation of `documents` documents. Both are
multiples of what is measured here, a step and a few documents, because each document holds all its
target blocks and so has the same windows. Left out: validation losses in training (about 2 % of
it), and what a run writes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lengthgen.bench import marks, throughput
from lengthgen.bench.measuring import Candidate, Measured, Quartiles, quartiles
from lengthgen.bench.workload import TRAIN_TOKENS, Place, Shape, batch, build, random_store
from lengthgen.evaluation.protocols import EvaluationConfig
from lengthgen.model import ModelConfig
from lengthgen.runs.run_settings import RunSettings

DOCUMENTS = 4  # evaluated in one measurement


def shape(scale: int = 1) -> Shape:
    """The default run's model and batch; its length divided by `scale`."""
    model, run = ModelConfig(), RunSettings()
    length = max(4, run.train_length // scale)
    return Shape(model.n_layers, model.width, model.n_heads, length, run.batch_size)


def candidates(at: Shape, names: Sequence[str], where: Place) -> list[Candidate]:
    """Two a scheme: one training step, and the default evaluation of DOCUMENTS documents."""
    store = random_store(1, max(TRAIN_TOKENS, 2 * at.length), at.vocab)
    wanted = throughput.evaluation(at, DOCUMENTS)
    both = []
    for name in names:
        model = build(name, at, where)
        step = throughput.train_step(model, lambda number: batch(store, at, number, where), where)
        scoring = partial(wanted.score, model, wanted.requests, where)
        calls: dict[str, Callable[[], object]] = {_training(name): step, _evaluating(name): scoring}
        both += [Candidate(label, "part", call) for label, call in calls.items()]
    return both


def judge(measured: Measured, judged: bool = True) -> list[dict[str, Any]]:
    """One row a mark of marks.SHARE: evaluation / (training + evaluation), over rounds."""
    return [
        marks.judge_value(mark, *_of_run(measured, mark.ours.partition(",")[0]), judged)
        for mark in marks.SHARE
    ]


def _of_run(measured: Measured, name: str) -> tuple[Quartiles | None, str]:
    step, some = measured.seconds(_training(name)), measured.seconds(_evaluating(name))
    if not len(step) or not len(some):
        reasons = (measured.failed.get(part) for part in (_training(name), _evaluating(name)))
        return None, next(filter(None, reasons), f"{name} was not run")
    training = step * RunSettings().steps
    evaluation = some / DOCUMENTS * EvaluationConfig().documents
    parts = {"training": training, "evaluation": evaluation}
    medians = (f"{name} {quartiles(seconds)[0]:.0f} s" for name, seconds in parts.items())
    words = f"{', '.join(medians)} of {measured.clock} time"
    return quartiles(evaluation / (training + evaluation)), words


def _training(name: str) -> str:
    return f"{name}, training step"


def _evaluating(name: str) -> str:
    return f"{name}, {DOCUMENTS} documents"
