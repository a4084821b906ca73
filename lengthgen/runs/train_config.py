"""What Hydra composed, or any other mapping, becomes a typed `TrainConfig`.

Unknown keys, wrong types and impossible values are ConfigErrors of one line. Torch is imported with
the first scheme, modifier or retrofit, after everything else is checked.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from lengthgen import modifiers, retrofits, schemes
from lengthgen.config import by_length, dataclass_from
from lengthgen.diagnostics.settings import DiagnosticsConfig
from lengthgen.errors import ConfigError
from lengthgen.evaluation.protocols import EvaluationConfig, eval_lengths
from lengthgen.model.settings import ModelConfig
from lengthgen.pretrained.adapter_settings import LoraConfig
from lengthgen.pretrained.source import PREFIX
from lengthgen.runs import typed_groups
from lengthgen.runs.pretrained_settings import PretrainedModel
from lengthgen.runs.run_settings import RunSettings
from lengthgen.training.optim_settings import OptimConfig

START = "from"  # the key of the run that a training starts from

if TYPE_CHECKING:
    from lengthgen.schemes.base import Dimensions, Scheme


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


class AsConfigured(Choice):
    """What a pretrained model's configuration says: its options are that model's defaults."""

    @property
    def label(self) -> str:
        return self.name


@dataclass
class Start:
    """The weights that a training starts from: a finished run's, or a pretrained model's."""

    run: str  # its id; of a pretrained model hf:...
    weights_sha256: str
    train_length: int  # of that run or model
    retrofit: Choice | None = None  # under which the training goes on
    released: Choice | None = None  # the retrofit that a pretrained model was released with

    @property
    def pretrained(self) -> bool:
        return self.run.startswith(PREFIX)

    def as_dict(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in ("run", "weights_sha256", "train_length")}
        given["retrofit"] = self.retrofit.as_dict() if self.retrofit else None
        return given | ({"released": self.released.as_dict()} if self.released else {})


@dataclass
class TrainConfig:
    settings: RunSettings
    model_name: str
    model: ModelConfig | PretrainedModel
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
    start: Start | None = None  # of a training that goes on from another one's weights
    adapter: LoraConfig | None = None  # of a pretrained model: what is trained; None: all of it

    @property
    def trained(self) -> list[Choice]:
        """The scheme, its modifiers, and the retrofit of a training that goes on under one."""
        around = (self.start.released, self.start.retrofit) if self.start else ()
        return [self.scheme, *self.modifiers, *(each for each in around if each)]

    @property
    def name(self) -> str:
        """`rope+ssmax`: what was trained."""
        return "+".join(choice.name for choice in self.trained)

    @property
    def label(self) -> str:
        """`rope+ssmax(bias=True)+yarn(factor=4)`: what is evaluated."""
        choices = (*self.trained, self.retrofit)
        return "+".join(choice.label for choice in choices if choice)

    @property
    def diagnosed_lengths(self) -> list[int]:
        """Those of the diagnostics' factors, else of the evaluation; with the training length."""
        evaluation = self.evaluation
        if self.diagnostics and self.diagnostics.factors is not None:
            factors = self.diagnostics.factors
            evaluation = dataclasses.replace(evaluation, factors=factors, lengths=None)
        return eval_lengths(evaluation, self.settings.train_length)

    def make_scheme(self, options: Any, dimensions: "Dimensions") -> "Scheme":
        """The scheme inside its modifiers, not yet initialised."""
        from lengthgen.modifiers.base import modified

        if self.start:  # it keeps the length that it was trained at
            dimensions = dataclasses.replace(dimensions, train_length=self.start.train_length)
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
            **({START: self.start.as_dict()} if self.start else {}),
            **({"adapter": {"name": "lora", **vars(self.adapter)}} if self.adapter else {}),
        }


def check(config: Mapping[str, Any], user_folders: Sequence[Path] = ()) -> TrainConfig:
    """A plain, resolved mapping -> TrainConfig. Raises ConfigError with one line.

    user_folders: folders with the user's scheme/, modifier/, retrofit/ and dataset/.
    """
    # First what needs no torch: schemes, modifiers and retrofits import it.
    typed = typed_groups.typed(config, user_folders)
    train_length, retrofit = typed["settings"].train_length, None
    if config.get("retrofit"):
        retrofit = choose(retrofits, "retrofit", config["retrofit"], user_folders)
    start = _start(config.get(START), train_length, user_folders)
    trained_at = start.train_length if start else train_length
    scheme = choose(schemes, "scheme", config["scheme"], user_folders)
    if start and start.pretrained:
        if typed["diagnostics"]:
            raise ConfigError("diagnostics of a pretrained model: there are none; leave them out")
        scheme = AsConfigured(**vars(scheme))
    return TrainConfig(
        **typed,
        scheme=scheme.at(trained_at),
        modifiers=choose_modifiers(config.get("modifiers") or {}, user_folders),
        retrofit=retrofit,
        start=start,
    )


def _start(given: Any, train_length: int, user_folders: Sequence[Path]) -> Start | None:
    """given: null, or what extending.resolved and Start.as_dict make."""
    if given is None:
        return None
    known = isinstance(given, Mapping) and {"run", "weights_sha256", "train_length"} <= {*given}
    if not known or not isinstance(given["train_length"], int):
        raise ConfigError(
            f"{START}={given}: expected a finished run, its id or its folder, or hf:MODEL"
        )
    start = Start(str(given["run"]), str(given["weights_sha256"]), given["train_length"])
    if given.get("retrofit"):
        chosen = choose(retrofits, "retrofit", given["retrofit"], user_folders)
        if getattr(chosen.options, "factor", 1.0) is None:
            factor = max(1.0, train_length / start.train_length)
            chosen.options = dataclasses.replace(chosen.options, factor=factor)
        start.retrofit = chosen
    if given.get("released"):
        released = choose(retrofits, "retrofit", given["released"], [])
        start.released = AsConfigured(**vars(released))
    return start


def as_trained(config: Mapping[str, Any], user_folders: Sequence[Path]) -> dict[str, Any]:
    """A run's config.yaml, with what its scheme did before options that it does not name yet.

    A block that is longer than a window, which was once allowed, is as long. ConfigError.
    """
    options, evaluation = config.get("scheme"), config.get("evaluation")
    if not isinstance(options, Mapping) or not isinstance(evaluation, Mapping):
        raise ConfigError("config.yaml of the run is damaged: it has no scheme or no evaluation")
    if evaluation.get("block"):
        asked = dataclass_from.build(
            EvaluationConfig, typed_groups.without_name(evaluation), "evaluation"
        )
        shortest = min(eval_lengths(asked, config["train_length"]))
        block = min(evaluation["block"], shortest)
        config = {**config, "evaluation": {**evaluation, "block": block}}
    folders = [folder / schemes.NOUN for folder in user_folders]
    before = getattr(schemes.load(str(options.get("name")), folders).Config, "BEFORE", {})
    return {**config, "scheme": {**before, **options}}


def choose(kind: Any, key: str, options: Mapping[str, Any], user_folders: Sequence[Path]) -> Choice:
    """One of `kind` (the package schemes or retrofits) by its name, with its options."""
    name = typed_groups.named(key, options)
    return _choice(kind, key, name, typed_groups.without_name(options), user_folders)


def choose_modifiers(options: Mapping[str, Any], user_folders: Sequence[Path]) -> list[Choice]:
    """Modifiers by name, with their options, in the order of application."""
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
