"""The windows of a training: a step's batch, which windows it is, and the held-out ones."""

import dataclasses
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from lengthgen.data import batches
from lengthgen.data.tokens import TokenStore
from lengthgen.evaluation import unigram
from lengthgen.model import Transformer
from lengthgen.runs.prepare import Run

# Held-out windows of the training length, for the loss shown during training.
VALIDATION_WINDOWS = 32


@torch.no_grad()
def validation_loss(run: Run, model: Transformer) -> float:
    """Mean loss on fixed held-out windows, the same for every scheme and seed."""
    inputs, targets = validation_batch(run)
    model.eval()
    with run.autocast():
        losses = [
            _mean(run, model.losses(x, y), y)
            for x, y in zip(inputs.split(8), targets.split(8), strict=True)
        ]
    model.train()
    return float(torch.stack(losses).mean())


def unigram_loss(run: Run) -> float:
    """That of the training text's token frequencies on the same windows, nats a scored token."""
    _, targets = validation_batch(run)
    scored = targets[targets != batches.UNSCORED]  # answers alone, where the data have some
    return unigram.loss_of(run.splits, scored.cpu().numpy())


def validation_batch(run: Run) -> tuple[Tensor, Tensor]:
    store = run.splits.validation
    if run.splits.whole_documents:
        # A window cut from a longer document would have answers without their questions.
        windows = batches.whole(store, run.config.settings.train_length, VALIDATION_WINDOWS)
        return _scored(run, *windows)
    return batch(run, store, 0, 0, VALIDATION_WINDOWS)


def batch(run: Run, store: TokenStore, seed: int, step: int, size: int) -> tuple[Tensor, Tensor]:
    return _scored(run, *run.crops(store, seed, step, size))


def training_batch(run: Run, store: TokenStore, step: int) -> tuple[Tensor, Tensor]:
    """This rank's rows of the step's batch."""
    seed, size = run.config.settings.seed, run.config.settings.batch_size
    return _scored(run, *run.crops(store, seed, step, size, run.ranks.rows(size)))


def _scored(run: Run, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """A batch on the run's device. Where the data have answers, only these are scored."""
    if run.splits.answers is not None:
        targets = batches.only_answers(targets, run.splits.answers)
    return batches.sent(inputs, run.device), batches.sent(targets, run.device)


def _mean(run: Run, losses: Tensor, targets: Tensor) -> Tensor:
    return losses.mean() if run.splits.answers is None else losses.sum() / batches.n_scored(targets)


class _Places:
    """A stream of tokens in which each is its own place."""

    is_cuda = False

    def __init__(self, count: int):
        self.count = count

    def numel(self) -> int:
        return self.count

    def __getitem__(self, places: Tensor) -> Tensor:
        return places


def windows_of_step(run: Run, step: int) -> list[str]:
    """`document:token` of the beginning of each window of the batch. step: from 1."""
    store, settings = run.splits.train, run.config.settings
    places = cast(Any, _Places(store.n_tokens))
    whereabouts: TokenStore = dataclasses.replace(store, stream=places)
    starts, _ = run.crops(whereabouts, settings.seed, step - 1, settings.batch_size)
    firsts = starts[:, 0].numpy()
    documents = np.searchsorted(store.offsets, firsts, side="right") - 1
    return [
        f"{store.names[document]}:{first - store.offsets[document]}"
        for document, first in zip(documents, firsts, strict=True)
    ]
