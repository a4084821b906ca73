"""One evaluation of a pretrained model: data, model, tables, figures. Nothing is trained.

Its folder is that of a run (folder.py), without metrics and checkpoints. Its identity is the weight
files, how they are read, and the text. The same command again does nothing; another retrofit, other
lengths or protocols add an evaluation.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from lengthgen import files, tracking
from lengthgen.config import yaml_files
from lengthgen.data.splits import Splits
from lengthgen.errors import DataError
from lengthgen.evaluation import floors
from lengthgen.model import parameter_counts
from lengthgen.pretrained import loading, reading, source
from lengthgen.pretrained.loading import Described
from lengthgen.pretrained.source import Source
from lengthgen.runs import (
    dashboard,
    describing,
    evaluating,
    pretrained_run,
    pretrained_settings,
    retrofitting,
    stopping,
    train_config,
)
from lengthgen.runs import run as runs
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.prepare import Run
from lengthgen.runs.pretrained_settings import GROUPS, PretrainedModel, PretrainedSettings
from lengthgen.runs.retrofitting import ADDED
from lengthgen.terminal.messages import messages_shown

log = logging.getLogger(__name__)


def evaluate(
    config: DictConfig | Mapping[str, Any],
    user_folders: Sequence[Path | str] = (),
    *,
    figures: bool = True,
    begun: runs.Begun = lambda run: None,
) -> runs.Outcome:
    """Evaluate the pretrained model that `config` names on its text, or what is missing of it.

    config: from `compose(["pretrained=hf:..."], command="pretrained")`. user_folders: with your
    retrofits and datasets. figures: draw the curves. Raises UserErrors of one line.
    """
    with stopping.watched(), messages_shown():
        given = train_config.plain(config)
        folders = [Path(folder) for folder in user_folders]
        settings = pretrained_settings.typed(given)
        found = source.locate(settings.pretrained, settings.revision)
        described = loading.describe(found, settings.positions, settings.train_length)
        run = pretrained_run.prepare(given, settings, found, described, folders)
        return begun(run) or _complete(run, given, found, described, figures)


def evaluated_model(evaluation: Path) -> tuple[reading.Pretrained, Splits]:
    """An evaluation's model, with its retrofit, and data. ConfigError, DataError.

    DataError where the weight files are not those that were evaluated.
    """
    folder = RunFolder(evaluation.parent.parent)
    stored = train_config.plain(yaml_files.load(folder.config))
    origin = files.read_json(evaluation / "settings.json", {}).get("origin", {})
    retrofit = {k: v for k, v in (origin.get("retrofit") or {}).items() if k not in ADDED}
    names = {field.name for field in dataclasses.fields(PretrainedSettings)}
    given = {key: value for key, value in stored.items() if key in {*names, *GROUPS}}
    given["retrofit"] = retrofit or None
    settings = pretrained_settings.typed(given)
    found = source.locate(settings.pretrained, settings.revision)
    described = loading.describe(found, settings.positions, settings.train_length)
    run = pretrained_run.prepare(given, settings, found, described, [])
    if run.id != folder.path.name:
        raise DataError(
            f"run {folder.path.name}: the model's files or the text have changed since; this "
            f"machine's give {run.id}"
        )
    model = _loaded(run, found, described)
    retrofitting.apply(run, model)
    return model, run.splits


def _loaded(run: Run, found: Source, described: Described) -> reading.Pretrained:
    read = cast(PretrainedModel, run.config.model)
    model = loading.load(found, described, dtype=read.dtype, device=run.device, bos=read.bos)
    model.use_kernel(run.config.settings.kernel)
    return model


def _complete(
    run: Run, given: Mapping[str, Any], found: Source, described: Described, figures: bool
) -> runs.Outcome:
    """Evaluate what is missing."""
    evaluation, settings = run.folder.evaluation(run.evaluation_id), run.identity()["evaluation"]
    done = run.folder.finished(run.evaluation_id) and not evaluating.holes_of(run)
    if done and (not figures or run.folder.has_figures(settings)):
        log.info("run %s: nothing to do, evaluated already (%s)", run.id, run.folder.path)
        return runs.Outcome(run.id, run.folder.path, "nothing to do", evaluation)
    with run.folder.locked(), run.folder.logged():
        if done:
            runs.draw(run, settings)
            return runs.Outcome(run.id, run.folder.path, "drawn", evaluation)
        run.folder.repair()
        requests = evaluating.plan(run)
        model = _loaded(run, found, described)
        retrofitting.check(run, model)
        _describe(run, model, given, described)
        with dashboard.tracked(run) as tracker:
            retrofit = retrofitting.apply(run, model)
            evaluating.evaluate(run, model, requests, retrofit, tracker)
            floors.refuse_leaks(evaluation)
            dashboard.keep_tables(run, tracker)
            run.folder.finish(found.sha256, {})
            if figures:
                dashboard.show(tracker, runs.draw(run, settings), settings)
        if not figures:
            log.info("tables in %s", run.folder.path)
    return runs.Outcome(run.id, run.folder.path, "evaluated", evaluation)


def _describe(
    run: Run, model: reading.Pretrained, given: Mapping[str, Any], described: Described
) -> None:
    """Log what is about to be done; write config.yaml and provenance.json if they are missing."""
    counts, folder = parameter_counts(model), run.folder
    total = sum(each.numel() for each in model.parameters())
    log.info(
        "run %s: %s parameters, trained at %s tokens, positions %s, %s, %s",
        run.id, f"{total:,}", f"{described.dimensions.train_length:,}",
        run.config.name, run.device, run.precision,
    )  # fmt: skip
    for note in run.splits.notes:
        log.info("dataset %s: %s", run.splits.label, note)
    if run.splits.user_code:
        folder.keep(run.splits.user_code)
    if not folder.provenance.exists():
        facts = describing.origin(run) | {
            "precision": run.precision,
            "pretrained": run.science["model"],
            "parameters": counts | {"total": total},
            "data": run.science["data"]
            | {
                "train_tokens": run.splits.train.n_tokens,
                "validation_tokens": run.splits.validation.n_tokens,
                "left_out": run.splits.notes,
            },
            "scheme": {"structure": model.scheme.structure}
            | dataclasses.asdict(model.scheme.declaration),
        }
        files.write_json(folder.provenance, tracking.redact(facts))
    if not folder.config.exists():
        kept = {key: value for key, value in given.items() if key != "retrofit"}
        names = {"model": {"name": run.config.model_name}, "scheme": run.config.scheme.as_dict()}
        numbers = {"train_length": run.config.settings.train_length, "steps": 0, "seed": 0}
        stored = tracking.redact(kept | names | numbers)
        files.write_text(folder.config, OmegaConf.to_yaml(OmegaConf.create(stored)))
