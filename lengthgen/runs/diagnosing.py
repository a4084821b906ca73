"""A run's diagnostics: their windows planned before anything is done, and their folder RUN/diagnostics/<id>/ written if it is missing.

They are no part of an evaluation's identity, and change none of its numbers: the id is a hash of their own settings and of the retrofit.
Everything is computed in float32, whatever the run's precision.

Shape letters: W windows, T tokens.
"""

import copy
import dataclasses
import logging

import torch
from torch import Tensor

from lengthgen.data import batches
from lengthgen.diagnostics.subject import Subject
from lengthgen.evaluation import protocols, whole_documents
from lengthgen.model import Transformer
from lengthgen.runs.prepare import Run
from lengthgen.schemes.base import Scheme

log = logging.getLogger(__name__)


def missing(run: Run) -> bool:
    """Whether diagnostics are asked for that are not there."""
    return run.diagnostics_folder is not None and not run.diagnostics_folder.is_dir()


def plan(run: Run) -> dict[int, Tensor]:
    """Length -> (W, length) token ids of held-out windows, at the training length and the longest. DataError where documents are too short.

    One window of the longest length a document, as the position protocol reads them; at the training length its last tokens. Where windows
    must be whole documents: such documents of each of the lengths.
    """
    asked, store, L = run.config.diagnostics, run.splits.validation, run.config.scalars.train_length
    lengths = run.config.diagnosed_lengths
    longest = max(lengths)
    count = max(asked.documents, asked.windows)
    if run.splits.whole_documents:
        requests = whole_documents.plan(store.lengths, sorted({*lengths}), count)
        return {request.eval_length: _tokens(store, request.windows) for request in requests}
    settings = dataclasses.replace(
        run.config.evaluation,
        lengths=lengths,
        protocols=["position"],
        documents=count,
        blocks=1,
        block=None,
        stride=None,
        last_k=None,
    )
    (request,) = protocols.plan(store.lengths, store.names, lengths, L, settings)
    windows = _tokens(store, request.windows)
    return {length: windows[:, longest - length :] for length in lengths}


def write(
    run: Run, model: Transformer, as_trained: Scheme, initial: Scheme, windows: dict[int, Tensor]
) -> None:
    """Write the run's diagnostics. model: trained, with its retrofit; as_trained: its scheme without; initial: before the first step."""
    scalars, asked = run.config.scalars, run.config.diagnostics
    model.eval()
    for scheme in (as_trained, initial):
        scheme.to(run.device).eval()
    model.scheme.use_draw(0)
    taken = [
        length for length in run.config.diagnosed_lengths if model.scheme.refusal(length) is None
    ]
    inputs, _ = batches.crops(
        run.splits.train, seed=scalars.seed, step=0, batch_size=asked.windows, length=scalars.train_length,
        cross_documents=scalars.cross_documents,
    )  # fmt: skip
    subject = Subject(
        model=model,
        trained=as_trained,
        initial=initial,
        lengths=tuple(taken),
        windows={
            length: windows[length].to(run.device) for length in {scalars.train_length, taken[-1]}
        },
        training=inputs.to(run.device),
        n_read=asked.windows,
    )
    about = {
        "settings": dataclasses.asdict(asked),
        "lengths": taken,
        "refused": sorted({*run.config.diagnosed_lengths} - {*taken}),
    }
    identity = {
        key: value
        for key, value in run.identity().items()
        if key in ("run", "scheme", "dataset", "model", "seed", "train_length")
    }
    from lengthgen.diagnostics import writing

    found = writing.write(run.diagnostics_folder, subject, asked.which, identity, about)
    for name, finding in found.items():
        for sentence in finding.reading or [f"skipped, {finding.skipped}"]:
            log.info("%s: %s", name, sentence)
    log.info("diagnostics in %s", run.diagnostics_folder)


def kept(model: Transformer) -> Scheme:
    """The model's scheme as it is now: a retrofit put around it later does not touch it."""
    return copy.deepcopy(model.scheme)


def _tokens(store, windows) -> Tensor:
    starts = [int(store.offsets[window.document]) + window.start for window in windows]
    return torch.stack(
        [
            store.tokens(start, start + window.length)
            for start, window in zip(starts, windows, strict=True)
        ]
    )
