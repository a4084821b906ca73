"""One run: data, model, training, evaluation, tables, figures.

`train` does only what is missing: a finished run is left alone, an interrupted one resumes at its
newest checkpoint, and changed evaluation settings reuse the trained weights. Knows no Hydra.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lengthgen.errors import DataError, Interrupted, UserError
from lengthgen.evaluation import floors
from lengthgen.runs import (
    dashboard,
    describing,
    diagnosing,
    evaluating,
    extending,
    following,
    kept_code,
    retrofitting,
    step_plan,
    stopping,
    stored,
    stored_config,
    together,
    train_config,
)
from lengthgen.runs.fit import fit
from lengthgen.runs.prepare import Run, prepare, untrained_model
from lengthgen.statistics.thresholds import UNDER_TRAINED
from lengthgen.terminal.messages import messages_shown
from lengthgen.training import checkpoint, ranks, skips, world

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a call did, and where its results are."""

    run_id: str
    folder: Path
    status: str  # "trained" | "evaluated" | "drawn" (the figures alone) | "nothing to do"
    evaluation: Path  # the folder of this evaluation's tables


# Called with a run before its work; an Outcome that it returns takes the place of the work.
Begun = Callable[[Run], Outcome | None]


def train(
    config: DictConfig | Mapping[str, Any],
    user_folders: Sequence[Path | str] = (),
    *,
    figures: bool = True,
    begun: Begun = lambda run: None,
) -> Outcome:
    """Train and evaluate the run that `config` describes, or the part that is missing.

    config: from `compose`. user_folders: folders with your schemes, datasets, ... (a --config-dir).
    figures: draw the run's curves. Raises UserErrors of one line. Under torchrun all ranks call it:
    they train together, and the first one does the rest.
    """
    # Watched inside: a signal is then an error like others to the ranks.
    with messages_shown(), ranks.joined(world.world()) as joined, stopping.watched():
        folders = [Path(folder) for folder in user_folders]
        given, folders = extending.resolved(train_config.plain(config), folders)
        checked = train_config.check(given, folders)
        run = following.prepared(checked, joined)
        if not joined.first:
            status = "trained" if following.follow(run) else "nothing to do"
            return Outcome(
                run.id, run.folder.path, status, run.folder.evaluation(run.evaluation_id)
            )
        if outcome := begun(run):
            run.ranks.from_first(False)
            return outcome
        return _complete(run, figures)


def train_together(
    configs: Iterable[DictConfig | Mapping[str, Any]],
    user_folders: Sequence[Path | str] = (),
    *,
    left_out: Callable[[Run], bool] = lambda run: False,
) -> None:
    """Train those of the runs that can be trained as one program; `train` then does the rest.

    left_out: of which run there is nothing to train. A configuration that is refused is left out
    too: `train` says why. Interrupted, DiskError.
    """
    folders = [Path(folder) for folder in user_folders]
    with stopping.watched(), messages_shown():
        runs = []
        for config in configs:
            try:
                given, known = extending.resolved(train_config.plain(config), folders)
                runs.append(prepare(train_config.check(given, known)))
            except Interrupted:
                raise
            except UserError as error:
                log.debug("left out: %s", error)
        together.fit_all([run for run in runs if not left_out(run)])


def evaluate(
    config: DictConfig | Mapping[str, Any],
    user_folders: Sequence[Path | str] = (),
    *,
    figures: bool = True,
    begun: Begun = lambda run: None,
) -> Outcome:
    """Evaluate a trained run under other settings, or with a retrofit.

    config: from `compose(["run=..."], command="evaluate")`. The rest is as in `train`.
    """
    with stopping.watched(), messages_shown():
        options = train_config.plain(config)
        folder = stored_config.finished_run(options)
        name, changed = folder.path.name, stored_config.changed(options)
        folders = [Path(each) for each in user_folders]
        trust_code = kept_code.trusted(options.get("trust_code", False))
        run = stored.stored_run(folder, changed, folders, trust_code)
        if run.id != name:
            raise DataError(
                f"run {name} cannot be evaluated as it was trained: this machine's data, precision "
                f"or code give {run.id}; use the same data (and device type)"
            )
        run = dataclasses.replace(run, folder=folder)
        return begun(run) or _complete(run, figures)


def _complete(run: Run, figures: bool) -> Outcome:
    """Do the part of the run that is missing."""
    evaluation = run.folder.evaluation(run.evaluation_id)
    # Of the weights kept on the way: the same evaluation, under ids of their own.
    earlier = [
        dataclasses.replace(run, config=dataclasses.replace(run.config, at_step=step))
        for step in run.config.settings.evaluate_at_steps
    ]
    settings = run.identity()["evaluation"]
    done = not diagnosing.missing(run) and all(
        run.folder.finished(each.evaluation_id) and not evaluating.holes_of(each)
        for each in (run, *earlier)
    )
    if done:
        run.ranks.from_first(False)
        floors.refuse_leaks(evaluation)
        _say_what_was_not_kept(run)
        if not figures or run.folder.has_figures(settings):
            log.info(
                "run %s: nothing to do, trained and evaluated already (%s)", run.id, run.folder.path
            )
            return Outcome(run.id, run.folder.path, "nothing to do", evaluation)
    with run.folder.locked(), run.folder.logged():
        if done:
            draw(run, settings)
            return Outcome(run.id, run.folder.path, "drawn", evaluation)
        run.folder.repair()
        # Whatever can refuse the run does so before the training.
        requests = evaluating.plan(run)
        diagnosis = diagnosing.plan(run)
        model = untrained_model(run)
        retrofitting.check(run, model)
        plan = step_plan.plan_of(run, model)
        conditions = describing.describe(run, model, plan)
        with dashboard.tracked(run) as tracker:
            run.ranks.from_first(True)
            fitted = fit(run, model, tracker, plan, conditions)
            run.ranks.part()
            weights = checkpoint.weights_sha256(model)
            if run.config.at_step:
                stored.load_kept(run, run.folder, model)
            if diagnosis:
                diagnosis.keep_scheme(model.scheme)
            retrofit = retrofitting.apply(run, model)
            evaluating.evaluate(run, model, requests, retrofit, tracker)
            floors.refuse_leaks(evaluation)
            dashboard.keep_tables(run, tracker)
            if diagnosis:
                diagnosis.write(model, untrained_model(run).scheme)
            for each in earlier:
                evaluating.evaluate(
                    each, stored.with_weights(each, run.folder), requests, {}, tracker
                )
            run.folder.finish(weights, fitted.about)
            if fitted.trained:
                dashboard.keep_weights(run, tracker)
            else:
                _say_what_was_not_kept(run)
            if figures:
                dashboard.show(tracker, draw(run, settings), settings)
        if not figures:
            log.info("tables in %s", run.folder.path)
        _say_whether_settled(fitted.about)
    return Outcome(
        run.id, run.folder.path, "trained" if fitted.trained else "evaluated", evaluation
    )


def _say_what_was_not_kept(run: Run) -> None:
    """Of a run that was trained before this command: keep_at_steps has no part in its identity."""
    if steps := stored.not_kept(run.folder, run.config.settings.keep_at_steps):
        log.warning(
            "keep_at_steps=%s: the run was trained without keeping these; to have them, delete %s "
            "and train again",
            str(steps).replace(" ", ""),
            run.folder.path,
        )


def _say_whether_settled(about: Mapping[str, Any]) -> None:
    if words := skips.in_words(about):
        log.warning("%s", words)
    gained = about.get("last_doubling")
    if gained is not None and not about["settled"] and gained >= UNDER_TRAINED:
        log.warning(
            "under-trained: the last doubling of the steps improved the loss at train_length by "
            "%.3f nats (%g or more); what the scheme does beyond it may change with more steps",
            gained,
            UNDER_TRAINED,
        )


def draw(run: Run, settings: str) -> list[Path]:
    """The figures of the evaluations with these settings, noted in done.json. Returns the files."""
    # matplotlib and pandas take seconds to import: only here, after the training.
    from lengthgen.reporting import publish

    drawn = publish.write_run_figures(run.folder.path, settings)
    run.folder.note_figures(settings, drawn)
    log.info("tables and %d figures in %s", len(drawn), run.folder.path)
    return drawn
