"""Whether any gradient reaches what a scheme reads beyond its training length. Measured on a training batch, not inferred.

The arm's model is made with tables for twice its training length, and the gradient of the loss on windows of the training length is taken:
what it leaves at exactly 0 in the second half of a table, training leaves as it was drawn. Shape letters: L the training length.
"""

import torch

from lengthgen import model as models
from lengthgen.data import batches
from lengthgen.errors import ConfigError
from lengthgen.runs import prepare, train_config
from lengthgen.studies.losses import Subject


def beyond_training(subject: Subject) -> list[float]:
    """For each seed the largest gradient of a table's entry for positions (or offsets) from L on, over the largest before L.

    ConfigError if the scheme has no table that grows with the training length.
    """
    return [_share(evaluation.config) for evaluation in subject.evaluations]


def _share(stored: dict) -> float:
    run = prepare.prepare(train_config.check(dict(stored), []))
    settings = run.config.settings
    length = settings.train_length
    model = models.build(
        run.config.model, run.config.make_scheme, run.config.scheme.options, train_length=2 * length, vocab_size=run.splits.vocab_size,
        seed=settings.seed,
    )  # fmt: skip
    tables = [p for p in model.scheme.parameters() if 2 * length in p.shape]
    if not tables:
        raise ConfigError(
            f"scheme {run.config.scheme.label} has no table of its training length; expected one such as learned or per_offset"
        )
    inputs, targets = batches.crops(
        run.splits.train,
        seed=settings.seed,
        step=0,
        batch_size=settings.batch_size,
        length=length,
        cross_documents=settings.cross_documents,
    )
    model.losses(inputs, targets).mean().backward()
    within, beyond = [], []
    for table in tables:
        gradient = table.grad.movedim(list(table.shape).index(2 * length), 0).abs()
        within.append(gradient[:length].max())
        beyond.append(gradient[length:].max())
    return float(torch.stack(beyond).max() / torch.stack(within).max())
