"""A run's retrofit: refused before anything is done, put around the trained scheme, and given the losses that it may search on.

The windows of those losses are of the training split, never of the text that the evaluation scores.

Shape letters: B windows, T tokens.
"""

import logging

import torch

from lengthgen.data import batches
from lengthgen.errors import ConfigError
from lengthgen.model import Transformer
from lengthgen.retrofits import base
from lengthgen.runs.prepare import Run

log = logging.getLogger(__name__)
ADDED = (
    "found",
    "paper",
    "tail",
    "code",
)  # what `apply` says of a retrofit beside its name and options
WINDOWS = (
    16  # of the training split, for each length that a retrofit asks about: the same at every call
)


def check(run: Run, model: Transformer) -> None:
    """ConfigError if the run's retrofit has no place around what was trained."""
    retrofit = run.config.retrofit
    if retrofit and (reason := base.refusal(retrofit.cls, model.scheme)):
        raise ConfigError(f"{reason}; the run is {run.config.name}")


def apply(run: Run, model: Transformer) -> dict:
    """Put the run's retrofit, if it has one, around the model's scheme. Returns what the evaluation's settings.json says of it."""
    chosen = run.config.retrofit
    if chosen is None:
        return {}
    model.eval()
    model.scheme, retrofit = base.apply(chosen.cls, chosen.options, model.scheme)
    model.scheme.to(run.device)
    retrofit.calibrate(lambda length: _loss(run, model, length))
    log.info("retrofit %s: %s", chosen.label, retrofit.declaration.tail)
    identity = chosen.identity()
    if chosen.from_user:
        run.folder.keep(chosen.file, identity["code"])
    return {
        "retrofit": identity
        | {
            "found": retrofit.search_result,
            "paper": retrofit.about.paper,
            "tail": retrofit.declaration.tail,
        }
    }


@torch.no_grad()
def _loss(run: Run, model: Transformer, length: int) -> float:
    """Mean loss, nats per token, of WINDOWS windows of `length` tokens; each within one document where there is one long enough.

    ConfigError for data of questions with answers: windows cut from them have answers without their questions.
    """
    if run.splits.answers is not None:
        raise ConfigError(
            f"retrofit {run.config.retrofit.label} searches on windows of training text, and {run.splits.label} is questions with answers: "
            "give what it would search for as its options, or another retrofit"
        )
    store = run.splits.train
    across = batches.count_starts(store, length, cross_documents=False) == 0
    inputs, targets = batches.crops(
        store, seed=0, step=0, batch_size=WINDOWS, length=length, cross_documents=across
    )
    at_once = max(1, run.config.evaluation.tokens_per_batch // length)
    total = 0.0
    with run.autocast():
        for x, y in zip(inputs.split(at_once), targets.split(at_once), strict=True):
            total += float(model.losses(x.to(run.device), y.to(run.device)).double().sum())
    return total / targets.numel()
