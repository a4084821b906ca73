"""A run's diagnostics, in RUN/diagnostics/<id>/: their windows are planned before any training.

They change no number of an evaluation. Their id is a hash of their settings and of the retrofit.
Everything is computed in float32, whatever the run's precision.

Shape letters: W windows, T tokens.
"""

import copy
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lengthgen import files
from lengthgen.data.tokens import TokenStore
from lengthgen.diagnostics.diagnosed_model import DiagnosedModel
from lengthgen.diagnostics.settings import DiagnosticsConfig
from lengthgen.evaluation import protocols, whole_documents
from lengthgen.evaluation.planners import Window
from lengthgen.model import Transformer
from lengthgen.runs.prepare import Run
from lengthgen.schemes.base import Scheme

log = logging.getLogger(__name__)
IDENTITY = ("run", "scheme", "dataset", "model", "seed", "train_length")  # columns of the tables


def missing(run: Run) -> bool:
    """Whether diagnostics were requested that have not been written, or had no room in memory."""
    folder = run.diagnostics_folder
    return folder is not None and (not folder.is_dir() or bool(_without_room(folder)))


def plan(run: Run) -> "Diagnosis | None":
    """The diagnostics that the run lacks. DataError where documents are too short."""
    settings, folder = run.config.diagnostics, run.diagnostics_folder
    if settings is None or folder is None or not missing(run):
        return None
    return Diagnosis(run, settings, folder)


class Diagnosis:
    def __init__(self, run: Run, settings: DiagnosticsConfig, folder: Path):
        self.run, self.settings, self.folder = run, settings, folder
        self.lengths = run.config.diagnosed_lengths
        self.windows = _windows(run, self.lengths, max(settings.documents, settings.windows))

    def keep_scheme(self, scheme: Scheme) -> None:
        """Copy the trained scheme before a retrofit goes around it."""
        self.as_trained = copy.deepcopy(scheme)

    def write(self, model: Transformer, initial: Scheme) -> None:
        """Write the folder. model: trained, with its retrofit; initial: before the first step.

        What is there is left alone, unless one that had no room in memory now has it.
        """
        run, settings = self.run, self.run.config.settings
        model.eval()
        for scheme in (self.as_trained, initial):
            scheme.to(run.device).eval()
        model.scheme.use_draw(0)
        lengths = [n for n in self.lengths if model.scheme.refusal(n) is None]
        inputs, _ = run.crops(run.splits.train, settings.seed, 0, self.settings.windows)
        subject = DiagnosedModel(
            model=model,
            trained=self.as_trained,
            initial=initial,
            lengths=tuple(lengths),
            windows={
                n: self.windows[n].to(run.device) for n in {settings.train_length, lengths[-1]}
            },
            training=inputs.to(run.device),
            n_read=self.settings.windows,
        )
        about = {
            "settings": dataclasses.asdict(self.settings),
            "lengths": lengths,
            "refused": sorted({*self.lengths} - {*lengths}),
        }
        identity = {key: value for key, value in run.identity().items() if key in IDENTITY}
        # matplotlib and pandas take seconds to import: only here, after the training.
        from lengthgen.diagnostics import writing

        tried = writing.measured(subject, _without_room(self.folder))
        if tried and all(finding.no_room for finding in tried.values()):
            log.warning("%s: skipped, as before: no room in memory", ", ".join(tried))
            return
        findings = writing.write_folder(
            self.folder, subject, self.settings.which, identity, about, tried
        )
        for name, finding in findings.items():
            for sentence in finding.sentences or [f"skipped, {finding.skipped}"]:
                log.info("%s: %s", name, sentence)
        log.info("diagnostics in %s", self.folder)


def _without_room(folder: Path) -> list[str]:
    """Diagnostics that had no room in memory, which there may be by now."""
    return files.read_json(folder / "settings.json", {}).get("no_room", [])


def _windows(run: Run, lengths: list[int], count: int) -> dict[int, Tensor]:
    """Length -> (W, length) token ids of held-out windows.

    One window of the longest length a document, as the position protocol reads them; a shorter one
    is its last tokens. Where windows must be whole documents: such documents of each length.
    """
    store, longest = run.splits.validation, max(lengths)
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
    train_length = run.config.settings.train_length
    (request,) = protocols.plan(store.lengths, store.names, lengths, train_length, settings)
    windows = _tokens(store, request.windows)
    return {length: windows[:, longest - length :] for length in lengths}


def _tokens(store: TokenStore, windows: Sequence[Window]) -> Tensor:
    starts = [int(store.offsets[window.document]) + window.start for window in windows]
    rows = [
        store.tokens(start, start + window.length)
        for start, window in zip(starts, windows, strict=True)
    ]
    return torch.stack(rows)
