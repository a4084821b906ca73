"""One evaluation of a pretrained model: data, model, tables, figures. Nothing is trained.

Its folder is that of a run (folder.py), without metrics and checkpoints. Its identity is the weight
files, how they are read, and the text. The same command again does nothing; another retrofit, other
lengths or protocols add an evaluation.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from lengthgen import files, retrofits, schemes, tracking
from lengthgen.config import dataclass_from, yaml_files
from lengthgen.data import datasets, pretrained_tokenizer
from lengthgen.data.splits import Splits, make_dataset, prepare_splits
from lengthgen.errors import ConfigError, DataError
from lengthgen.evaluation import floors
from lengthgen.evaluation.protocols import EvaluationConfig
from lengthgen.model import ModelConfig, parameter_counts
from lengthgen.pretrained import loading, reading, source
from lengthgen.pretrained.loading import Described
from lengthgen.pretrained.source import Source
from lengthgen.runs import (
    describing,
    evaluating,
    identity,
    pretrained_settings,
    process,
    retrofitting,
    stopping,
    train_config,
    typed_groups,
)
from lengthgen.runs import run as runs
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.prepare import Run, placed
from lengthgen.runs.pretrained_settings import GROUPS, PretrainedSettings
from lengthgen.runs.progress import messages_shown
from lengthgen.runs.retrofitting import ADDED
from lengthgen.runs.run_settings import RunSettings
from lengthgen.runs.train_config import Choice, TrainConfig
from lengthgen.training.optim import OptimConfig

log = logging.getLogger(__name__)
PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class PretrainedModel:
    """What a run of a pretrained model has in the place of a model's sizes."""

    sha256: str  # of the weight files and their configuration
    architecture: str  # model_type of transformers
    positions: str
    dtype: str
    bos: int | None  # the token before every window


class AsConfigured(Choice):
    """What the model's own configuration says: its options are this model's defaults."""

    @property
    def label(self) -> str:
        return self.name


class PretrainedRun(Run):
    """A run of no steps."""

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"steps": 0}


def evaluate(
    config: DictConfig | Mapping[str, Any],
    user_folders: Sequence[Path | str] = (),
    *,
    figures: bool = True,
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
        run = _prepare(given, settings, found, described, folders)
        return _complete(run, given, found, described, figures)


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
    run = _prepare(given, settings, found, described, [])
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


def _prepare(
    given: Mapping[str, Any],
    settings: PretrainedSettings,
    found: Source,
    described: Described,
    folders: Sequence[Path],
) -> Run:
    """The run: its typed configuration, data, device and identity. Writes token stores alone."""
    process.prepare_torch(settings.threads)
    process.keep_memory()
    precision = PRECISION[settings.dtype]
    device, _ = placed(settings.device, precision, "device=")
    length = described.dimensions.train_length
    options = {key: value for key, value in given["evaluation"].items() if key != "name"}
    evaluation = dataclass_from.build(EvaluationConfig, options, "evaluation")
    lengths = typed_groups.lengths_of(evaluation, length)
    typed_groups.check_tracking(given["tracking"])
    dataset, tokenizer = _data(given, found, length, lengths, folders)
    bos = _bos(settings, found, tokenizer)
    own = RunSettings(
        train_length=length,
        threads=settings.threads,
        kernel=settings.kernel,
        device=settings.device,
        results=settings.results,
        cache=settings.cache,
    )
    read = PretrainedModel(
        found.sha256, described.config.model_type, settings.positions, settings.dtype, bos
    )
    retrofit = None
    if given.get("retrofit"):
        retrofit = train_config.choose(retrofits, "retrofit", given["retrofit"], folders)
    config = TrainConfig(
        settings=own,
        model_name=identity.shown(found.name),
        model=cast(ModelConfig, read),
        scheme=_scheme(described).at(length),
        dataset=dataset,
        tokenizer=tokenizer,
        optim=OptimConfig(),  # nothing is trained
        evaluation=evaluation,
        tracking=dict(given["tracking"]),
        modifiers=_released(described),
        retrofit=retrofit,
        dataset_folders=[folder / "dataset" for folder in folders],
    )
    cache = Path(settings.cache) if settings.cache else None
    splits = prepare_splits(dataset, tokenizer, cache, config.dataset_folders)
    label = identity.without_secrets(splits.label)
    data = {"label": label, "fingerprint": splits.fingerprint, "tokenizer": splits.tokenizer}
    if splits.user_code:
        data["code"] = identity.code_hash(splits.user_code)
    science = {
        "version": identity.RESULTS_VERSION,
        "model": dataclasses.asdict(read),
        "scheme": identity.of_choice(config.scheme),
        "modifiers": {each.name: identity.of_choice(each) for each in config.modifiers},
        "data": data,
        "train_length": length,
        "seed": own.seed,
    }
    splits = dataclasses.replace(splits, label=identity.shown(label))
    folder = RunFolder(Path(settings.results) / "runs" / identity.run_id(config, science))
    return PretrainedRun(config, splits, device, precision, science, folder)


def _data(
    given: Mapping[str, Any],
    found: Source,
    train_length: int,
    lengths: Sequence[int],
    folders: Sequence[Path],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the dataset and of the model's tokeniser. ConfigError for data of symbols."""
    dataset, where = dict(given["dataset"]), [folder / "dataset" for folder in folders]
    if dataset.get("name"):  # else data/splits.py says so
        dataset = datasets.load(str(dataset["name"]), where).fitted(dataset, train_length, lengths)
    if make_dataset(dataset, where).symbols is not None:
        raise ConfigError(
            f"dataset={dataset['name']} has symbols of its own, and a pretrained model reads text; "
            "give a dataset of text, as dataset=files dataset.path=FOLDER"
        )
    return dataset, {"name": "pretrained", "folder": str(found.folder), "gguf": found.gguf}


def _bos(settings: PretrainedSettings, found: Source, tokenizer: Mapping[str, Any]) -> int | None:
    """The token that is put before every window, if one is."""
    begin, adds = pretrained_tokenizer.begins(tokenizer["folder"], tokenizer["gguf"])
    wanted = adds if settings.bos is None else settings.bos
    return begin if wanted else None


def _scheme(described: Described) -> Choice:
    positions = described.positions
    if positions is None:
        place = Path(reading.__file__)
        return Choice("as_released", reading.NoOptions(), reading.AsReleased, place, False)
    options = {"name": positions.scheme, **positions.options}
    return AsConfigured(**vars(train_config.choose(schemes, "scheme", options, [])))


def _released(described: Described) -> list[Choice]:
    """The retrofit that the model was released with, as what was trained with its scheme."""
    if described.positions is None or described.positions.released is None:
        return []
    name, options = described.positions.released
    chosen = train_config.choose(retrofits, "retrofit", {"name": name, **options}, [])
    return [AsConfigured(**vars(chosen))]


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
        with runs.tracked(run) as tracker:
            retrofit = retrofitting.apply(run, model)
            evaluating.evaluate(run, model, requests, retrofit, tracker)
            floors.refuse_leaks(evaluation)
        run.folder.finish(found.sha256, {})
        if figures:
            runs.draw(run, settings)
        else:
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
