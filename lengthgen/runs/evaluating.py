"""A run's evaluation: its windows, their losses, and the folder of its tables."""

import logging
from collections.abc import Sequence
from typing import Any

from lengthgen import files, tracking
from lengthgen.data.splits import check_lengths
from lengthgen.evaluation import last_lines, protocols, whole_documents, writing
from lengthgen.evaluation.protocols import Request
from lengthgen.evaluation.scoring import Scored, score
from lengthgen.model import Transformer
from lengthgen.runs.describing import origin
from lengthgen.runs.kernel_choice import with_fallback
from lengthgen.runs.prepare import Run
from lengthgen.terminal.progress import Progress, waiting
from lengthgen.tracking import Tracker

log = logging.getLogger(__name__)


def plan(run: Run) -> list[Request]:
    """The evaluation's windows. Planned before the training: it refuses data that are too short."""
    store, settings = run.splits.validation, run.config.settings
    lengths = protocols.eval_lengths(run.config.evaluation, settings.train_length)
    check_lengths(
        run.splits,
        train_length=settings.train_length,
        eval_length=max(lengths),
        cross_documents=settings.cross_documents,
    )
    if run.splits.whole_documents:
        return whole_documents.plan(store.lengths, lengths, run.config.evaluation.documents)
    return protocols.plan(
        store.lengths, store.names, lengths, settings.train_length, run.config.evaluation
    )


def scored_windows(
    run: Run, model: Transformer, requests: Sequence[Request], **how: Any
) -> list[Scored]:
    """The requests on the run's held-out text and device. how: `progress`, `hits` of `score`."""
    return score(
        model,
        run.splits.validation,
        requests,
        tokens_per_batch=run.config.evaluation.tokens_per_batch,
        device=run.device,
        autocast=run.autocast,
        **how,
    )


def evaluate(
    run: Run,
    model: Transformer,
    requests: list[Request],
    retrofit: dict[str, Any],
    tracker: Tracker,
) -> None:
    """Score the requests and write the evaluation's folder; settings.json holds `retrofit`.

    What is there is left alone, but for lengths that had no room in memory: they are tried again.
    """
    folder = run.folder.evaluation(run.evaluation_id)
    there = run.folder.evaluated(run.evaluation_id)
    holes = (
        [each for each in requests if (each.protocol, each.eval_length) in holes_of(run)]
        if there
        else []
    )
    if there and not holes:
        return
    if folder.is_dir() and not there:
        log.warning("evaluation %s is damaged: evaluating again", folder.name)

    def scores(wanted: list[Request]) -> list[Scored]:
        with Progress("evaluation", 1, every_seconds=5.0, unit="token") as progress:
            return scored_windows(
                run,
                model,
                wanted,
                progress=lambda done, total: progress.advance(done, total=total),
                hits=run.splits.answers is not None,
            )

    asked = run.config.settings.kernel
    if holes:
        tried, _ = with_fallback(lambda: scores(holes), model, asked)
        if all(one.status == "oom" for one in tried):
            log.warning("%s, as before", tried[0].reason)
            return
    scored, kernel = with_fallback(lambda: scores(requests), model, asked)
    with waiting("tables"):
        rows = writing.write(
            folder,
            scored,
            run.splits,
            run.identity(),
            train_length=run.config.settings.train_length,
            dtype=run.precision,
            settings=run.config.evaluation,
            origin=tracking.redact(origin(run) | {"kernel": kernel} | retrofit),
        )
    tracker.curves(rows)
    for line in last_lines.lines(rows):
        log.info("%s", line)


def holes_of(run: Run) -> list[tuple[str, int]]:
    """(protocol, length) of what had no room in memory, which there may be by now."""
    about = files.read_json(run.folder.evaluation(run.evaluation_id) / "settings.json", {})
    return [
        (one["protocol"], one["eval_length"])
        for one in about.get("outcomes", [])
        if one["status"] == "oom"
    ]
