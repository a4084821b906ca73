"""What Hydra composed, or any other mapping, becomes a typed `TrainConfig`.

Unknown keys, wrong types and impossible values are ConfigErrors of one line.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from lengthgen import model as models
from lengthgen import modifiers, retrofits, schemes, tracking
from lengthgen.config import by_length, dataclass_from
from lengthgen.config.dataclass_from import T
from lengthgen.data import datasets, tokenizers
from lengthgen.data.splits import make_dataset
from lengthgen.diagnostics.settings import DiagnosticsConfig
from lengthgen.errors import ConfigError
from lengthgen.evaluation.protocols import EvaluationConfig, eval_lengths
from lengthgen.model import ModelConfig
from lengthgen.modifiers.base import modified
from lengthgen.runs.run_settings import MOST_TOKENS, RunSettings
from lengthgen.schemes.base import Dimensions, Scheme
from lengthgen.training.optim import OptimConfig

GROUPS = ("model", "scheme", "dataset", "tokenizer", "optim", "evaluation", "tracking")
# Modifiers and a retrofit go around the scheme; diagnostics are done beside an evaluation.
OPTIONAL_GROUPS = ("modifiers", "retrofit", "diagnostics", "at_step")
MOST = {"tokens_per_batch": MOST_TOKENS, "resamples": 1_000_000}  # of an evaluation


@dataclass
class Choice:
    """A scheme, modifier or retrofit with its typed options, its class and its file."""

    name: str
    options: Any  # an instance of cls.Config
    cls: type[Any]
    file: Path
    from_user: bool  # defined outside the package
    train_length: int = 0  # at which the options that follow it are resolved: see `at`

    @property
    def label(self) -> str:
        """`t5_bias`, or with what differs from the defaults: `t5_bias(num_buckets=64)`."""
        named = by_length.changed(self.options, self.train_length)
        changed = [f"{name}={str(value).removesuffix('.0')}" for name, value in named.items()]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def at(self, train_length: int) -> "Choice":
        """With numbers for the options that follow the training length."""
        options = by_length.resolved(self.options, train_length)
        return dataclasses.replace(self, options=options, train_length=train_length)

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, **dataclasses.asdict(self.options)}


@dataclass
class TrainConfig:
    settings: RunSettings
    model_name: str
    model: ModelConfig
    scheme: Choice
    dataset: dict[str, Any]  # checked by the dataset's own file
    tokenizer: dict[str, Any]  # checked by data/tokenizers.py
    optim: OptimConfig
    evaluation: EvaluationConfig
    tracking: dict[str, Any]  # checked by tracking/seam.py
    # in the order of application, innermost first
    modifiers: list[Choice] = field(default_factory=list)
    retrofit: Choice | None = None  # of an evaluation
    diagnostics: DiagnosticsConfig | None = None  # of an evaluation
    at_step: int | None = None  # of an evaluation: a step whose weights were kept; None: the last
    dataset_folders: Sequence[Path] = ()  # with the user's datasets

    @property
    def name(self) -> str:
        """`rope+ssmax`: what was trained."""
        return "+".join(choice.name for choice in (self.scheme, *self.modifiers))

    @property
    def label(self) -> str:
        """`rope+ssmax(bias=True)+yarn(factor=4)`: what is evaluated."""
        choices = (self.scheme, *self.modifiers, self.retrofit)
        return "+".join(choice.label for choice in choices if choice)

    @property
    def diagnosed_lengths(self) -> list[int]:
        """Those of the diagnostics' factors, else of the evaluation; with the training length."""
        evaluation = self.evaluation
        if self.diagnostics and self.diagnostics.factors is not None:
            factors = self.diagnostics.factors
            evaluation = dataclasses.replace(evaluation, factors=factors, lengths=None)
        return eval_lengths(evaluation, self.settings.train_length)

    def make_scheme(self, options: Any, dimensions: Dimensions) -> Scheme:
        """The scheme inside its modifiers, not yet initialised."""
        around = [(choice.cls, choice.options) for choice in self.modifiers]
        return modified(self.scheme.cls(options, dimensions), around)

    def as_dict(self) -> dict[str, Any]:
        """The whole training, resolved, as config.yaml holds it. `check` reads it back."""
        return {
            **dataclasses.asdict(self.settings),
            "model": {"name": self.model_name, **dataclasses.asdict(self.model)},
            "scheme": self.scheme.as_dict(),
            "modifiers": {
                choice.name: dataclasses.asdict(choice.options) for choice in self.modifiers
            },
            "dataset": self.dataset,
            "tokenizer": self.tokenizer,
            "optim": {"name": "adamw", **dataclasses.asdict(self.optim)},
            "evaluation": dataclasses.asdict(self.evaluation),
            "tracking": self.tracking,
        }


def check(config: Mapping[str, Any], user_folders: Sequence[Path] = ()) -> TrainConfig:
    """A plain, resolved mapping -> TrainConfig. Raises ConfigError with one line.

    user_folders: folders with the user's scheme/, modifier/, retrofit/ and dataset/.
    """
    for group in GROUPS:
        if not isinstance(config.get(group), Mapping):
            raise ConfigError(f"no {group} chosen; give {group}=NAME")

    def built(cls: type[T], group: str) -> T:
        return dataclass_from.build(cls, _without_name(config[group]), group)

    groups = (*GROUPS, *OPTIONAL_GROUPS)
    settings = dataclass_from.build(
        RunSettings, {key: value for key, value in config.items() if key not in groups}, ""
    )
    model = built(ModelConfig, "model")
    models.refuse_too_large(model)
    evaluation = built(EvaluationConfig, "evaluation")
    dataclass_from.check(
        evaluation.lengths is not None or bool(evaluation.factors),
        "evaluation.factors=[]: expected at least one, or evaluation.lengths",
    )
    # Refuses impossible lengths before anything is read or trained.
    lengths = eval_lengths(evaluation, settings.train_length)
    check_evaluation(evaluation, lengths)
    check_tracking(config["tracking"])
    dataset, dataset_folders = dict(config["dataset"]), [f / "dataset" for f in user_folders]
    if dataset.get("name"):  # else data/splits.py says so
        cls = datasets.load(str(dataset["name"]), dataset_folders)
        dataset = cls.fitted(dataset, settings.train_length, lengths)
        settings.cross_documents &= not cls.whole_documents
        # Their own files check them: here before any data is read, and again where it is.
        make_dataset(dataset, dataset_folders)
    tokenizers.configured(config["tokenizer"])
    retrofit = diagnostics = None
    if config.get("retrofit"):
        retrofit = choose(retrofits, "retrofit", config["retrofit"], user_folders)
    if config.get("diagnostics"):
        diagnostics = built(DiagnosticsConfig, "diagnostics")
    optim = built(OptimConfig, "optim")
    dataclass_from.choice("optim", str(config["optim"].get("name", "adamw")), ("adamw",))
    dataclass_from.check(
        settings.settle is None or optim.schedule == "stable",
        f"settle={settings.settle} with optim.schedule={optim.schedule}: expected "
        "optim.schedule=stable, as a cosine needs to know the last step",
    )
    at_step = config.get("at_step")
    if at_step is not None:
        dataclass_from.check(
            isinstance(at_step, int) and at_step > 0,
            f"at_step={at_step}: expected a step of keep_at_steps or evaluate_at_steps",
        )
    return TrainConfig(
        settings=settings,
        model_name=str(config["model"].get("name", "custom")),
        model=model,
        scheme=choose(schemes, "scheme", config["scheme"], user_folders).at(settings.train_length),
        dataset=dataset,
        tokenizer=dict(config["tokenizer"]),
        optim=optim,
        evaluation=evaluation,
        tracking=dict(config["tracking"]),
        modifiers=choose_modifiers(config.get("modifiers") or {}, user_folders),
        retrofit=retrofit,
        diagnostics=diagnostics,
        at_step=at_step,
        dataset_folders=dataset_folders,
    )


def check_evaluation(evaluation: EvaluationConfig, lengths: Sequence[int]) -> None:
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


def check_tracking(options: Mapping[str, Any]) -> None:
    name = str(options.get("name"))
    dataclass_from.choice("tracking", name, tuple(tracking.BACKENDS))
    config: Any = tracking.BACKENDS[name].Config
    dataclass_from.build(config, options, "tracking")


def as_trained(config: Mapping[str, Any], user_folders: Sequence[Path]) -> dict[str, Any]:
    """A run's config.yaml, with what its scheme did before options that it does not name yet.

    A block that is longer than a window, which was once allowed, is as long. ConfigError.
    """
    options, evaluation = config.get("scheme"), config.get("evaluation")
    if not isinstance(options, Mapping) or not isinstance(evaluation, Mapping):
        raise ConfigError("config.yaml of the run is damaged: it has no scheme or no evaluation")
    if evaluation.get("block"):
        asked = dataclass_from.build(EvaluationConfig, _without_name(evaluation), "evaluation")
        shortest = min(eval_lengths(asked, config["train_length"]))
        block = min(evaluation["block"], shortest)
        config = {**config, "evaluation": {**evaluation, "block": block}}
    folders = [folder / schemes.NOUN for folder in user_folders]
    before = getattr(schemes.load(str(options.get("name")), folders).Config, "BEFORE", {})
    return {**config, "scheme": {**before, **options}}


def choose(kind: Any, key: str, options: Mapping[str, Any], user_folders: Sequence[Path]) -> Choice:
    """One of `kind` (the package schemes or retrofits) by its name, with its options."""
    if not options.get("name"):
        raise ConfigError(
            f"{key} has no name; its YAML needs a first line `name: NAME`, that of its code file"
        )
    return _choice(kind, key, str(options["name"]), _without_name(options), user_folders)


def choose_modifiers(options: Mapping[str, Any], user_folders: Sequence[Path]) -> list[Choice]:
    """Modifiers by name, with their options, in the order of application."""
    if not isinstance(options, Mapping):
        raise ConfigError(
            f"modifiers={options}: expected names with their options; "
            "give modifier=NAME or modifier=[NAME,NAME]"
        )
    choices = [
        _choice(modifiers, f"modifiers.{name}", str(name), its_options or {}, user_folders)
        for name, its_options in options.items()
    ]
    return sorted(choices, key=lambda choice: (choice.cls.stage, choice.name))


def _choice(
    kind: Any, key: str, name: str, options: Mapping[str, Any], user_folders: Sequence[Path]
) -> Choice:
    folders = [folder / kind.NOUN for folder in user_folders]
    cls, file = kind.load(name, folders), kind.source(name, folders)
    typed = dataclass_from.build(cls.Config, options, key)
    return Choice(name, typed, cls, file, from_user=file.parent != kind.HERE)


def _without_name(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "name"}


def plain(config: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """A resolved dict without Hydra's node."""
    given: Any = config
    if isinstance(config, DictConfig | ListConfig):
        try:
            given = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        except Exception as error:
            raise ConfigError(str(error).splitlines()[0]) from None
    if not isinstance(given, Mapping):
        raise ConfigError(f"a configuration is keys with values, not {type(given).__name__}")
    return {str(key): value for key, value in given.items() if key != "hydra"}
