"""The keys and groups of a configuration as typed values, as far as that needs no torch.

All but the options of a scheme, a modifier or a retrofit, which stand in code that imports torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen import modifiers, retrofits, schemes, tracking
from lengthgen.config import dataclass_from, own_code
from lengthgen.config.dataclass_from import T
from lengthgen.data import datasets, tokenizers
from lengthgen.data.chosen import make_dataset, user_code_of
from lengthgen.diagnostics.settings import DiagnosticsConfig
from lengthgen.errors import ConfigError
from lengthgen.evaluation.protocols import EvaluationConfig, eval_lengths
from lengthgen.model.settings import ModelConfig, refuse_too_large
from lengthgen.pretrained.adapter_settings import LoraConfig
from lengthgen.runs.pretrained_settings import PretrainedModel
from lengthgen.runs.run_settings import MOST_TOKENS, RunSettings
from lengthgen.training.optim_settings import OptimConfig

GROUPS = ("model", "scheme", "dataset", "tokenizer", "optim", "evaluation", "tracking")
# Modifiers and a retrofit go around the scheme; diagnostics are done beside an evaluation.
OPTIONAL_GROUPS = ("modifiers", "retrofit", "diagnostics", "at_step", "from", "adapter")
MOST = {"tokens_per_batch": MOST_TOKENS, "resamples": 1_000_000}  # of an evaluation


def typed(config: Mapping[str, Any], user_folders: Sequence[Path] = ()) -> dict[str, Any]:
    """The fields of a TrainConfig but scheme, modifiers and retrofit, whose names are looked up.

    config: plain and resolved. user_folders: as in train_config.check. Raises ConfigError.
    """
    for group in GROUPS:
        if not isinstance(config.get(group), Mapping):
            raise ConfigError(f"no {group} chosen; give {group}=NAME")

    def built(cls: type[T], group: str) -> T:
        return dataclass_from.build(cls, without_name(config[group]), group)

    groups = (*GROUPS, *OPTIONAL_GROUPS)
    settings = dataclass_from.build(
        RunSettings, {key: value for key, value in config.items() if key not in groups}, ""
    )
    model: ModelConfig | PretrainedModel
    if "sha256" in config["model"]:  # extending.py puts it there
        model = built(PretrainedModel, "model")
    else:
        model = built(ModelConfig, "model")
        refuse_too_large(model)
    evaluation = built(EvaluationConfig, "evaluation")
    lengths = lengths_of(evaluation, settings.train_length)
    check_tracking(config["tracking"])
    dataset, folders = dict(config["dataset"]), [f / datasets.NOUN for f in user_folders]
    if dataset.get("name"):  # else data/chosen.py says so
        cls = datasets.load(str(dataset["name"]), folders)
        with own_code.in_file(user_code_of(str(dataset["name"]), folders)):
            dataset = cls.fitted(dataset, settings.train_length, lengths)
        settings.cross_documents &= not cls.whole_documents
        # Their own files check them: here before any data is read, and again where it is.
        make_dataset(dataset, folders)
    tokenizers.configured(config["tokenizer"])
    optim = built(OptimConfig, "optim")
    dataclass_from.choice("optim", str(config["optim"].get("name", "adamw")), ("adamw",))
    dataclass_from.check(
        settings.settle is None or optim.schedule == "stable",
        f"settle={settings.settle} with optim.schedule={optim.schedule}: expected "
        "optim.schedule=stable, as a cosine needs to know the last step",
    )
    look_up(config, user_folders)
    return {
        "settings": settings,
        "model_name": str(config["model"].get("name", "custom")),
        "model": model,
        "dataset": dataset,
        "tokenizer": dict(config["tokenizer"]),
        "optim": optim,
        "evaluation": evaluation,
        "tracking": dict(config["tracking"]),
        "diagnostics": (
            built(DiagnosticsConfig, "diagnostics") if config.get("diagnostics") else None
        ),
        "adapter": _adapter(config.get("adapter")),
        "at_step": _step(config.get("at_step")),
        "dataset_folders": folders,
    }


def lengths_of(evaluation: EvaluationConfig, train_length: int) -> list[int]:
    """The lengths to evaluate. ConfigError for impossible ones, and for settings that do not fit
    them, before anything is read or trained."""
    dataclass_from.check(
        evaluation.lengths is not None or bool(evaluation.factors),
        "evaluation.factors=[]: expected at least one, or evaluation.lengths",
    )
    lengths = eval_lengths(evaluation, train_length)
    dataclass_from.check(
        evaluation.block is None or evaluation.block <= min(lengths),
        f"evaluation.block={evaluation.block}: expected at most {min(lengths)}, the shortest "
        "evaluation length, or null",
    )
    dataclass_from.check(
        len(set(evaluation.protocols)) == len(evaluation.protocols),
        f"evaluation.protocols={evaluation.protocols}: expected each one once",
    )
    for name, most in MOST.items():
        value = getattr(evaluation, name)
        dataclass_from.check(
            value is None or value <= most, f"evaluation.{name}={value}: expected at most {most}"
        )
    return lengths


def check_tracking(options: Mapping[str, Any]) -> None:
    name = str(options.get("name"))
    dataclass_from.choice("tracking", name, tuple(tracking.BACKENDS))
    config: Any = tracking.BACKENDS[name].Config
    dataclass_from.build(config, options, "tracking")


def look_up(config: Mapping[str, Any], user_folders: Sequence[Path]) -> None:
    """ConfigError for a scheme, modifier or retrofit that nobody has."""
    chosen = [(schemes, named("scheme", config["scheme"]))] if "scheme" in config else []
    around = config.get("modifiers") or {}
    if not isinstance(around, Mapping):
        raise ConfigError(
            f"modifiers={around}: expected names with their options; "
            "give modifier=NAME or modifier=[NAME,NAME]"
        )
    chosen += [(modifiers, str(name)) for name in around]
    if config.get("retrofit"):
        chosen.append((retrofits, named("retrofit", config["retrofit"])))
    for kind, name in chosen:
        kind.source(name, [folder / kind.NOUN for folder in user_folders])


def _adapter(options: Any) -> LoraConfig | None:
    if not options:
        return None
    dataclass_from.choice("adapter", named("adapter", options), ("lora",))
    return dataclass_from.build(LoraConfig, without_name(options), "adapter")


def _step(at_step: Any) -> int | None:
    valid = at_step is None or (isinstance(at_step, int) and at_step > 0)
    dataclass_from.check(
        valid, f"at_step={at_step}: expected a step of keep_at_steps or evaluate_at_steps"
    )
    return at_step


def named(key: str, options: Mapping[str, Any]) -> str:
    """The name that a group gives: of its code file. ConfigError without one."""
    if not isinstance(options, Mapping) or not options.get("name"):
        raise ConfigError(
            f"{key} has no name; its YAML needs a first line `name: NAME`, that of its code file"
        )
    return str(options["name"])


def without_name(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "name"}
