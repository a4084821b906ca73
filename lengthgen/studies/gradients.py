"""Whether any gradient reaches what a scheme reads beyond its training length, measured on a batch.

The arm's model is built with tables for twice its training length L, and the gradient of the loss
on windows of L tokens is taken. An entry whose gradient is exactly 0 stays as it was initialised.
"""

from typing import cast

import torch

from lengthgen import model as models
from lengthgen.data import batches
from lengthgen.errors import ConfigError
from lengthgen.runs import stored
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.prepare import Run
from lengthgen.studies.losses import EvaluatedArm


def beyond_training(subject: EvaluatedArm) -> list[float]:
    """For each seed the largest gradient of a table's entries from L on, over the largest before L.

    ConfigError if the scheme has no table that grows with the training length.
    """
    folders = (evaluation.folder.parent.parent for evaluation in subject.evaluations)
    return [_share(stored.stored_run(RunFolder(folder), {})) for folder in folders]


def _share(run: Run) -> float:
    config, settings = run.config, run.config.settings
    length = settings.train_length
    model = models.build(
        cast(models.ModelConfig, config.model),
        config.make_scheme,
        config.scheme.options,
        train_length=2 * length,
        vocab_size=run.splits.vocab_size,
        seed=settings.seed,
    )
    tables = [table for table in model.scheme.parameters() if 2 * length in table.shape]
    if not tables:
        raise ConfigError(
            f"scheme {config.scheme.label} has no table of its training length; expected a scheme "
            "such as learned or per_offset"
        )
    inputs, targets = batches.crops(
        run.splits.train,
        seed=settings.seed,
        step=0,
        batch_size=settings.batch_size,
        length=length,
        cross_documents=settings.cross_documents,
    )
    losses = model.losses(inputs, targets)
    gradients = [
        gradient.movedim(list(gradient.shape).index(2 * length), 0).abs()
        for gradient in torch.autograd.grad(losses.mean(), tables)
    ]
    within, beyond = (
        torch.stack([gradient[part].max() for gradient in gradients]).max()
        for part in (slice(length), slice(length, None))
    )
    return float(beyond / within)
