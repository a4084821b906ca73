"""A run's retrofit: refused before any work, put around the trained scheme, and calibrated.

The losses that it may search on are of the training split, never of the text that is scored.
Shape letters: B windows, T tokens.
"""

import logging
from typing import Any

import torch

from lengthgen.data import batches
from lengthgen.errors import ConfigError
from lengthgen.evaluation.scoring import tokens_at_once
from lengthgen.model import Transformer
from lengthgen.retrofits import base
from lengthgen.runs import identity
from lengthgen.runs.prepare import Run
from lengthgen.runs.train_config import Choice

log = logging.getLogger(__name__)
# What `apply` adds to a retrofit's name and options in settings.json.
ADDED = ("found", "paper", "tail", "code")
# Of the training split, for each length that a retrofit asks about; the same at every call.
WINDOWS = 16


def check(run: Run, model: Transformer) -> None:
    """ConfigError if the run's retrofit has no place around what was trained."""
    retrofit = run.config.retrofit
    if retrofit and (reason := base.refusal(retrofit.cls, model.scheme)):
        raise ConfigError(f"{reason}; the run is {run.config.name}")


def apply(run: Run, model: Transformer) -> dict[str, Any]:
    """Put the run's retrofit, if any, around the scheme. Returns its part of settings.json."""
    choice = run.config.retrofit
    if choice is None:
        return {}
    model.eval()
    model.scheme, retrofit = base.apply(choice.cls, choice.options, model.scheme)
    model.scheme.to(run.device)
    retrofit.calibrate(lambda length: _loss(run, choice, model, length))
    tail = retrofit.declaration.tail
    log.info("retrofit %s: %s", choice.label, tail)
    described = identity.of_choice(choice)
    if choice.from_user:
        run.folder.keep(choice.file, described["code"])
    added = {"found": retrofit.search_result, "paper": retrofit.about.paper, "tail": tail}
    return {"retrofit": described | added}


@torch.no_grad()
def _loss(run: Run, choice: Choice, model: Transformer, length: int) -> float:
    """Mean loss, nats per token, of WINDOWS windows of `length` tokens.

    Each is within one document where there is one long enough. ConfigError for questions with
    answers: windows cut from them have answers without their questions.
    """
    if run.splits.answers is not None:
        raise ConfigError(
            f"retrofit {choice.label} searches on windows of training text, and "
            f"{run.splits.label} is questions with answers: "
            "give what it would search for as its options, or another retrofit"
        )
    store = run.splits.train
    across = batches.count_starts(store, length, cross_documents=False) == 0
    inputs, targets = batches.crops(
        store, seed=0, step=0, batch_size=WINDOWS, length=length, cross_documents=across
    )
    tokens = run.config.evaluation.tokens_per_batch or tokens_at_once(run.device)
    at_once = max(1, tokens // length)
    total = 0.0
    with run.autocast():
        for x, y in zip(inputs.split(at_once), targets.split(at_once), strict=True):
            total += float(model.losses(x.to(run.device), y.to(run.device)).double().sum())
    return total / targets.numel()
