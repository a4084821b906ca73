"""One run: data, model, training, evaluation, tables, figures.

`train` does only what is missing: a finished run is left alone, an interrupted one resumes at its
newest checkpoint, and changed evaluation settings reuse the trained weights. Knows no Hydra.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from lengthgen import files, tracking
from lengthgen import model as models
from lengthgen.config import paths
from lengthgen.data.splits import Splits, check_lengths
from lengthgen.errors import CheckpointError, ConfigError, DataError
from lengthgen.evaluation import floors, last_lines, whole_documents
from lengthgen.evaluation import writing as evaluation_files
from lengthgen.evaluation.protocols import Request, eval_lengths, plan
from lengthgen.evaluation.scoring import Scored, score
from lengthgen.runs import diagnosing, kept_code, provenance, retrofitting, step_plan, train_config
from lengthgen.runs.fit import fit
from lengthgen.runs.folder import RunFolder, find
from lengthgen.runs.kernel_choice import kernels_of, linear_of, with_fallback
from lengthgen.runs.prepare import Run, prepare
from lengthgen.runs.progress import Progress, messages_shown
from lengthgen.runs.step_plan import StepPlan
from lengthgen.statistics.thresholds import UNDER_TRAINED
from lengthgen.training import checkpoint

log = logging.getLogger(__name__)
# Keys that an evaluation may change; the others are the training's.
PER_EVALUATION = (
    "evaluation", "retrofit", "diagnostics", "at_step",
    "tracking", "device", "threads", "linear", "kernel", "cache", "results",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a call did, and where its results are."""

    run_id: str
    folder: Path
    status: str  # "trained" | "evaluated" | "nothing to do"
    evaluation: Path  # the folder of this evaluation's tables


def train(
    config: DictConfig | Mapping[str, Any],
    user_folders: Sequence[Path | str] = (),
    *,
    figures: bool = True,
) -> Outcome:
    """Train and evaluate the run that `config` describes, or the part that is missing.

    config: from `compose`. user_folders: folders with your schemes, datasets, ... (a --config-dir).
    figures: draw the run's curves. Raises UserErrors of one line.
    """
    with messages_shown():
        checked = train_config.check(_plain(config), [Path(folder) for folder in user_folders])
        return _complete(prepare(checked), figures)


def evaluate(
    config: DictConfig | Mapping[str, Any],
    user_folders: Sequence[Path | str] = (),
    *,
    figures: bool = True,
) -> Outcome:
    """Evaluate a trained run under other settings, or with a retrofit.

    config: from `compose(["run=..."], command="evaluate")`. The rest is as in `train`.
    """
    with messages_shown():
        options = _plain(config)
        folder = find(paths.folder(options["results"], "results"), str(options["run"]))
        name = folder.path.name
        if not folder.ended:
            raise CheckpointError(f"run {name} is not finished; rerun its training command")
        changed = {key: options[key] for key in PER_EVALUATION if key in options}
        changed["evaluate_at_steps"] = []  # at_step chooses one of them
        folders = [Path(each) for each in user_folders]
        trust_code = kept_code.trusted(options.get("trust_code", False))
        run = _stored_run(folder, changed, folders, trust_code)
        if run.id != name:
            raise DataError(
                f"run {name} cannot be evaluated as it was trained: this machine's data, precision "
                f"or code give {run.id}; use the same data (and device type)"
            )
        return _complete(dataclasses.replace(run, folder=folder), figures)


def trained_model(folder: RunFolder, trust_code: bool = False) -> tuple[models.Transformer, Splits]:
    """A run's trained model, in evaluation mode, and its data. CheckpointError without weights.

    trust_code: as in `load_run`.
    """
    run = _stored_run(folder, {"retrofit": None}, trust_code=trust_code)
    return _with_weights(run, folder), run.splits


def evaluated_model(
    evaluation: Path, trust_code: bool = False
) -> tuple[models.Transformer, Splits]:
    """An evaluation's model, with its retrofit, and data. CheckpointError without weights.

    trust_code: as in `load_run`.
    """
    folder = RunFolder(evaluation.parent.parent)
    origin = files.read_json(evaluation / "settings.json", {}).get("origin", {})
    stored = origin.get("retrofit") or {}
    options = {key: value for key, value in stored.items() if key not in retrofitting.ADDED}
    code = paths.name(str(stored["code"]), "retrofit code") if "code" in stored else ""
    changed = {"retrofit": options or None}
    run = _stored_run(folder, changed, trust_code=trust_code, retrofit=code)
    model = _with_weights(run, folder)
    retrofitting.apply(run, model)
    return model, run.splits


def _stored_run(
    folder: RunFolder,
    changed: Mapping[str, Any],
    user_folders: Sequence[Path] = (),
    trust_code: bool = False,
    retrofit: str = "",
) -> Run:
    """The run of a folder, prepared again from its configuration with some keys changed.

    retrofit: the hash of a retrofit's code that the folder keeps.
    """
    kept_code.refuse_interpolations(folder)
    stored = _plain(cast(DictConfig, OmegaConf.load(folder.config)))
    # The run folder comes first: it holds the code that the run was trained with.
    folders = kept_code.folders(folder, user_folders, trust_code, retrofit)
    stored = train_config.as_trained(stored, folders)
    return prepare(train_config.check({**stored, **changed}, folders))


def _with_weights(run: Run, folder: RunFolder) -> models.Transformer:
    model = _untrained(run)
    if run.config.at_step:
        _load_kept(run, folder, model)
        return model.eval()
    saved = checkpoint.load_newest(folder.checkpoints, run.device, folder.path.name)
    if saved is None:
        raise CheckpointError(
            f"run {folder.path.name} has no valid weights; delete {folder.path} and train again"
        )
    model.load_state_dict(saved["model"])
    folder.check_weights(checkpoint.weights_sha256(model))
    model.scheme.begin_step(saved["step"], saved["step"])
    return model.eval()


def _load_kept(run: Run, folder: RunFolder, model: models.Transformer) -> None:
    """The weights after `at_step` steps. CheckpointError if the run kept none."""
    step = cast(int, run.config.at_step)
    saved = checkpoint.load(folder.kept_weights, step, run.device, folder.path.name)
    if saved is None:
        kept = sorted(int(path.name[5:]) for path in folder.kept_weights.glob("step-*"))
        raise CheckpointError(
            f"run {folder.path.name} kept no weights of step {step} (it has {kept or 'none'}); "
            f"delete {folder.path} and train again with keep_at_steps=[{step}]"
        )
    model.load_state_dict(saved["model"])
    model.scheme.begin_step(step, run.config.settings.steps)


def _complete(run: Run, figures: bool) -> Outcome:
    """Do the part of the run that is missing."""
    evaluation = run.folder.evaluation(run.evaluation_id)
    # Of the weights kept on the way: the same evaluation, under ids of their own.
    earlier = [
        dataclasses.replace(run, config=dataclasses.replace(run.config, at_step=step))
        for step in run.config.settings.evaluate_at_steps
    ]
    if (
        all(run.folder.finished(each.evaluation_id) for each in (run, *earlier))
        and not diagnosing.missing(run)
    ):  # fmt: skip
        floors.refuse_leaks(evaluation)
        log.info(
            "run %s: nothing to do, trained and evaluated already (%s)", run.id, run.folder.path
        )
        return Outcome(run.id, run.folder.path, "nothing to do", evaluation)
    with run.folder.locked(), run.folder.logged():
        # Whatever can refuse the run does so before the training.
        requests = _plan(run)
        diagnosis = diagnosing.plan(run)
        model = _untrained(run)
        retrofitting.check(run, model)
        plan = step_plan.plan_of(run, model)
        _describe(run, model, plan)
        with _tracked(run) as tracker:
            fitted = fit(run, model, tracker, plan)
            weights = checkpoint.weights_sha256(model)
            if run.config.at_step:
                _load_kept(run, run.folder, model)
            if diagnosis:
                diagnosis.keep_scheme(model.scheme)
            retrofit = retrofitting.apply(run, model)
            _evaluate(run, model, requests, retrofit, tracker)
            floors.refuse_leaks(evaluation)
            if diagnosis:
                diagnosis.write(model, _untrained(run).scheme)
            for each in earlier:
                _evaluate(each, _with_weights(each, run.folder), requests, {}, tracker)
        run.folder.finish(weights, fitted.about)
        drawn = _figures(run) if figures else []
        log.info("tables and %d figures in %s", len(drawn), run.folder.path)
        _say_whether_settled(fitted.about)
    return Outcome(
        run.id, run.folder.path, "trained" if fitted.trained else "evaluated", evaluation
    )


def _say_whether_settled(about: Mapping[str, Any]) -> None:
    gained = about.get("last_doubling")
    if gained is not None and not about["settled"] and gained >= UNDER_TRAINED:
        log.warning(
            "under-trained: the last doubling of the steps improved the loss at train_length by "
            "%.3f nats (%g or more); what the scheme does beyond it may change with more steps",
            gained,
            UNDER_TRAINED,
        )


def _figures(run: Run) -> list[Path]:
    # matplotlib and pandas take seconds to import: only here, after the training.
    from lengthgen.reporting import publish

    return publish.write_run_figures(run.folder.path, run.identity()["evaluation"])


def _untrained(run: Run) -> models.Transformer:
    """The run's model with the weights of its seed, on its device."""
    settings = run.config.settings
    model = models.build(
        run.config.model,
        run.config.make_scheme,
        run.config.scheme.options,
        train_length=settings.train_length,
        vocab_size=run.splits.vocab_size,
        seed=settings.seed,
    ).to(run.device)
    model.use_kernel(settings.kernel)
    model.use_linear(settings.linear)
    return model


def _plan(run: Run) -> list[Request]:
    """The evaluation's windows. Planned before the training: it refuses data that are too short."""
    store, settings = run.splits.validation, run.config.settings
    lengths = eval_lengths(run.config.evaluation, settings.train_length)
    check_lengths(
        run.splits,
        train_length=settings.train_length,
        eval_length=max(lengths),
        cross_documents=settings.cross_documents,
    )
    if run.splits.whole_documents:
        return whole_documents.plan(store.lengths, lengths, run.config.evaluation.documents)
    return plan(store.lengths, store.names, lengths, settings.train_length, run.config.evaluation)


def _describe(run: Run, model: models.Transformer, plan: StepPlan) -> None:
    """Log what is about to be done; write config.yaml and provenance.json if they are missing."""
    folder, counts, settings = run.folder, models.parameter_counts(model), run.config.settings
    with run.autocast():
        micro_batch = settings.batch_size // settings.accumulate
        kernels = kernels_of(model, micro_batch, settings.train_length, plan.compile)
        products = linear_of(model, plan.compile)
    parameters = f"{counts['total']:,} parameters ({counts['positional']:,} positional)"
    tokens = f"{run.splits.train.n_tokens:,} training tokens"
    log.info("run %s: %s, %s, %s, %s", run.id, parameters, tokens, run.device, run.precision)
    if folder.config.exists():
        return
    for note in run.splits.notes:
        log.info("dataset %s: %s", run.splits.label, note)
    for choice in (run.config.scheme, *run.config.modifiers):
        if choice.from_user:
            folder.keep(choice.file)
    if run.splits.user_code:
        folder.keep(run.splits.user_code)
    data = {
        "train_tokens": run.splits.train.n_tokens,
        "validation_tokens": run.splits.validation.n_tokens,
        "left_out": run.splits.notes,
    }
    facts = _origin(run) | {
        "precision": run.precision,
        "kernels": kernels,
        "linear": products,
        **plan.facts(),
        "parameters": counts,
        "data": run.science["data"] | data,
        "scheme": {"structure": model.scheme.structure}
        | dataclasses.asdict(model.scheme.declaration),
    }
    files.write_json(folder.provenance, tracking.redact(facts))
    given = run.config.as_dict()
    stored = tracking.redact(given)
    hidden = [key for key, value in given["dataset"].items() if stored["dataset"][key] != value]
    if set(hidden) - {"label"}:
        log.warning(
            "config.yaml holds no secret, and dataset.%s has one: `lengthgen evaluate` cannot read "
            "these data again; keep it in the environment or in ~/.netrc",
            hidden[0],
        )
    files.write_text(folder.config, OmegaConf.to_yaml(OmegaConf.create(stored)))


def _origin(run: Run) -> dict[str, Any]:
    """Command, commit, versions, device."""
    return provenance.describe(run.device)


@contextlib.contextmanager
def _tracked(run: Run) -> Iterator[tracking.Tracker]:
    settings, retrofit = run.config.settings, run.config.retrofit
    choices = [run.config.scheme, *run.config.modifiers, *([retrofit] if retrofit else [])]
    description = tracking.RunDescription(
        id=f"{run.id}-{retrofit.name}-{run.evaluation_id}" if retrofit else run.id,
        name=f"{run.config.label}-{run.splits.label}-s{settings.seed}",
        group=f"{run.splits.label}-{run.config.model_name}-L{settings.train_length}",
        job_type="evaluate" if run.folder.ended else "train",
        tags=(*(choice.name for choice in choices), run.splits.label, run.config.model_name),
        config=run.config.as_dict() | ({"retrofit": retrofit.as_dict()} if retrofit else {}),
        folder=run.folder.path,
    )
    with tracking.start(run.config.tracking, description) as tracker:
        yield tracker


def _evaluate(
    run: Run,
    model: models.Transformer,
    requests: list[Request],
    retrofit: dict[str, Any],
    tracker: tracking.Tracker,
) -> None:
    """Score the requests and write the evaluation's folder; settings.json holds `retrofit`."""
    folder = run.folder.evaluation(run.evaluation_id)
    if folder.is_dir():
        return
    progress = Progress("evaluation", 1, every_seconds=5.0)

    def scores() -> list[Scored]:
        return score(
            model,
            run.splits.validation,
            requests,
            tokens_per_batch=run.config.evaluation.tokens_per_batch,
            device=run.device,
            autocast=run.autocast,
            progress=lambda done, total: progress.advance(done, total=total),
            hits=run.splits.answers is not None,
        )

    scored, kernel = with_fallback(scores, model, run.config.settings.kernel)
    progress.close()
    rows = evaluation_files.write(
        folder,
        scored,
        run.splits,
        run.identity(),
        train_length=run.config.settings.train_length,
        dtype=run.precision,
        settings=run.config.evaluation,
        origin=tracking.redact(_origin(run) | {"kernel": kernel} | retrofit),
    )
    tracker.curves(rows)
    for line in last_lines.lines(rows):
        log.info("%s", line)


def _plain(config: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """A resolved dict without Hydra's node."""
    plain: Any = config
    if isinstance(config, DictConfig):
        try:
            plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        except Exception as error:
            raise ConfigError(str(error).splitlines()[0]) from None
    return {str(key): value for key, value in plain.items() if key != "hydra"}
