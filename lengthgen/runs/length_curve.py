"""Losses at and past the training length while a model is trained: `evaluate_every`.

A few held-out documents, one block of matched targets each, so that the lengths are comparable and
training waits for little. It shows where a curve begins to rise; the evaluation at the end, of more
documents and with intervals, is what is published.
"""

import dataclasses
import logging
from collections.abc import Sequence

from lengthgen.errors import DataError
from lengthgen.evaluation.protocols import EvaluationConfig, Request
from lengthgen.model import Transformer
from lengthgen.runs import evaluating
from lengthgen.runs.prepare import Run

log = logging.getLogger(__name__)
FACTORS = (1.0, 1.5, 2.0, 4.0)  # of the training length
DOCUMENTS = 8


def plan(run: Run) -> list[Request]:
    """The windows of every length for which the held-out text is long enough."""
    length = run.config.settings.train_length
    lengths = [round(factor * length) for factor in FACTORS]
    while lengths:
        few = EvaluationConfig(
            lengths=lengths, protocols=["matched"], documents=DOCUMENTS, blocks=1,
            tokens_per_batch=run.config.evaluation.tokens_per_batch,
        )  # fmt: skip
        config = dataclasses.replace(run.config, evaluation=few)
        try:
            return evaluating.plan(dataclasses.replace(run, config=config))
        except DataError:
            too_long = lengths.pop()
            log.info("evaluate_every: no held-out document is as long as %d tokens", too_long)
    return []


def losses(run: Run, model: Transformer, requests: Sequence[Request]) -> dict[str, float]:
    """{"lengths/loss@000768": nats a token, ...}, without the lengths that are refused.

    The model is left in training mode, and its next step as it would have been.
    """
    scored = evaluating.scored_windows(run, model, requests)
    model.scheme.use_draw(0)  # as the held-out loss finds it
    model.train()
    return {
        f"lengths/loss@{one.request.eval_length:06d}": float(one.losses.mean())
        for one in scored
        if one.status == "ok" and one.losses is not None
    }
