"""The share of a default run that its evaluation takes (E1): a training step and the evaluation of a few documents, side by side.

A run is `steps` training steps and one evaluation of `documents` documents, with the defaults of config.py; both are multiples of what is
measured, since every document here holds all its target blocks and so has the same windows. Left out: validation losses in training
(about 2 % of it), and on both sides what a run writes.
"""

from collections.abc import Sequence
from typing import Any

from lengthgen.bench import marks, throughput
from lengthgen.bench.measuring import Candidate, Measured, quartiles
from lengthgen.bench.workload import TRAIN_TOKENS, Place, Shape, batch, build, random_store
from lengthgen.evaluation.protocols import EvaluationConfig
from lengthgen.model import ModelConfig
from lengthgen.runs.train_config import RunSettings

DOCUMENTS = 4  # evaluated in one measurement


def shape(scale: int = 1) -> Shape:
    """The default run's model and batch; its length divided by `scale`."""
    model, run = ModelConfig(), RunSettings()
    return Shape(
        model.n_layers,
        model.width,
        model.n_heads,
        max(4, run.train_length // scale),
        run.batch_size,
    )


def candidates(at: Shape, names: Sequence[str], where: Place) -> list[Candidate]:
    """Two a scheme: one training step, and the default evaluation of DOCUMENTS documents."""
    store = random_store(1, max(TRAIN_TOKENS, 2 * at.length), at.vocab)
    wanted = throughput.evaluation(at, DOCUMENTS)
    found = []
    for name in names:
        model = build(name, at, where)
        step = throughput.train_step(model, lambda number: batch(store, at, number, where), where)
        found.append(Candidate(_training(name), "part", step))
        found.append(
            Candidate(
                _evaluating(name),
                "part",
                lambda model=model: wanted.score(model, wanted.requests, where),
            )
        )
    return found


def judge(measured: Measured, judged: bool = True) -> list[dict[str, Any]]:
    """One row a mark of marks.SHARE: median and quartiles over rounds of evaluation / (training + evaluation)."""
    return [
        marks.judge_value(mark, *_of_run(measured, mark.ours.partition(",")[0]), judged)
        for mark in marks.SHARE
    ]


def _of_run(measured: Measured, name: str) -> tuple[tuple[float, float, float] | None, str]:
    step, some = measured.seconds(_training(name)), measured.seconds(_evaluating(name))
    if not len(step) or not len(some):
        return None, measured.failed.get(_training(name)) or measured.failed.get(
            _evaluating(name), f"{name} was not run"
        )
    training, evaluation = step * RunSettings().steps, some / DOCUMENTS * EvaluationConfig().documents
    words = f"training {quartiles(training)[0]:.0f} s, evaluation {quartiles(evaluation)[0]:.0f} s of {measured.clock} time"
    return quartiles(evaluation / (training + evaluation)), words


def _training(name: str) -> str:
    return f"{name}, training step"


def _evaluating(name: str) -> str:
    return f"{name}, {DOCUMENTS} documents"
