"""A pretrained model and a text become a run that can be evaluated: its data, device, identity."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen import retrofits, schemes
from lengthgen.config import dataclass_from
from lengthgen.data import datasets
from lengthgen.data.splits import prepare_splits
from lengthgen.evaluation.protocols import EvaluationConfig
from lengthgen.pretrained import as_released
from lengthgen.pretrained.loading import Described
from lengthgen.pretrained.source import Source
from lengthgen.runs import identity, pretrained_model, process, train_config, typed_groups
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.prepare import Run, placed
from lengthgen.runs.pretrained_settings import PretrainedSettings
from lengthgen.runs.run_settings import RunSettings
from lengthgen.runs.train_config import AsConfigured, Choice, TrainConfig
from lengthgen.training.optim import OptimConfig

PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


OF_TRAINING = ("optim", "tokenizer", "tracking")  # groups
# And keys, that a run without steps has in name alone.
KEPT = ("train_length", "threads", "kernel", "device", "results", "cache")


class PretrainedRun(Run):
    """A run of no steps."""

    @property
    def tracked(self) -> dict[str, Any]:
        idle = {field.name for field in dataclasses.fields(RunSettings)} - set(KEPT)
        left_out = {*OF_TRAINING, *idle}
        return {key: value for key, value in super().tracked.items() if key not in left_out}

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"steps": 0}


def prepare(
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
    dataset = _dataset(given, length, lengths, folders)
    tokenizer = pretrained_model.tokenizer(found)
    own = RunSettings(
        train_length=length,
        threads=settings.threads,
        kernel=settings.kernel,
        device=settings.device,
        results=settings.results,
        cache=settings.cache,
    )
    read = pretrained_model.facts(
        found, described, positions=settings.positions, dtype=settings.dtype, bos=settings.bos
    )
    retrofit = None
    if given.get("retrofit"):
        retrofit = train_config.choose(retrofits, "retrofit", given["retrofit"], folders)
    config = TrainConfig(
        settings=own,
        model_name=identity.shown(found.name),
        model=read,
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


def _dataset(
    given: Mapping[str, Any], train_length: int, lengths: Sequence[int], folders: Sequence[Path]
) -> dict[str, Any]:
    """The options of the dataset. ConfigError for one of symbols."""
    dataset, where = dict(given["dataset"]), [folder / "dataset" for folder in folders]
    if dataset.get("name"):  # else data/splits.py says so
        dataset = datasets.load(str(dataset["name"]), where).fitted(dataset, train_length, lengths)
    pretrained_model.refuse_symbols(dataset, where)
    return dataset


def _scheme(described: Described) -> Choice:
    positions = described.positions
    if positions is None:
        cls, place = as_released.AsReleased, Path(as_released.__file__)
        return Choice("as_released", cls.Config(), cls, place, False)
    options = pretrained_model.scheme(positions)
    return AsConfigured(**vars(train_config.choose(schemes, "scheme", options, [])))


def _released(described: Described) -> list[Choice]:
    """The retrofit that the model was released with, as what was trained with its scheme."""
    options = pretrained_model.released(described.positions)
    if options is None:
        return []
    return [AsConfigured(**vars(train_config.choose(retrofits, "retrofit", options, [])))]
