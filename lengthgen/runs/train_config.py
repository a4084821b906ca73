"""Typed configuration, merged and checked; and the identity of a run.

What Hydra composed (or anybody else's mapping) becomes a `TrainConfig`: unknown keys, wrong types and impossible values are
one-line ConfigErrors. The identity of a run is a hash of its scientific configuration: what decides the numbers, and
nothing else (no paths, device, threads, tracking or progress).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lengthgen import modifiers, retrofits, schemes
from lengthgen.attention import dispatch, linear
from lengthgen.config import dataclass_from
from lengthgen.diagnostics.settings import DIAGNOSTICS_VERSION, DiagnosticsConfig
from lengthgen.errors import ConfigError
from lengthgen.evaluation.protocols import (
    EVALUATION_VERSION,
    EvaluationConfig,
    deciding,
    eval_lengths,
)
from lengthgen.model import ModelConfig
from lengthgen.modifiers.base import modified
from lengthgen.schemes.base import Dimensions, Scheme
from lengthgen.training.optim import OptimConfig

RESULTS_VERSION = (
    1  # raised when a change of the code changes numbers: older runs are then not taken for these
)
GROUPS = ("model", "scheme", "dataset", "tokenizer", "optim", "evaluation", "tracking")
AROUND = ("modifiers", "retrofit")  # what may be put around the scheme; most runs have neither
BESIDE = ("diagnostics",)  # what an evaluation may have done beside it


@dataclass
class Scalars:
    """The top-level keys of a training run."""

    seed: int = 0  # of weights, batches and dropout
    train_length: int = 512  # tokens in a training window
    steps: int = 800  # optimiser steps
    batch_size: int = 4  # sequences a step
    accumulate: int = 1  # micro-batches a step
    cross_documents: bool = True  # may a training window span documents
    precision: str = "auto"  # auto | fp32 | bf16 (autocast); auto = bf16 on CUDA, fp32 on CPU
    device: str = "auto"  # auto | cpu | cuda
    threads: int | None = None  # CPU threads; null = all cores
    linear: str = (
        "auto"  # products with weights: auto = the faster library, or a name of linear.KERNELS
    )
    kernel: str = (
        "auto"  # attention kernel: auto = the fastest exact one, or a name of attention.KERNELS
    )
    compile: bool = False  # torch.compile the training step
    log_every: int = 10  # steps between progress lines and metrics
    validate_every: int = (
        100  # steps between losses on held-out windows of the training length; 0 = never
    )
    checkpoint_every: int = 100  # steps between checkpoints
    keep_checkpoints: int = 2  # newest checkpoints kept
    results: str = "results"  # folder of run folders, tables and figures
    cache: str | None = (
        None  # folder of token stores; null = $LENGTHGEN_CACHE or ~/.cache/lengthgen
    )

    def __post_init__(self):
        for name in (
            "steps",
            "batch_size",
            "accumulate",
            "log_every",
            "checkpoint_every",
            "keep_checkpoints",
        ):
            dataclass_from.check(
                getattr(self, name) > 0,
                f"{name}={getattr(self, name)}: expected a positive integer",
            )
        dataclass_from.check(
            self.train_length >= 4, f"train_length={self.train_length}: expected at least 4 tokens"
        )
        dataclass_from.check(0 <= self.seed < 2**31, f"seed={self.seed}: expected 0 <= seed < 2^31")
        dataclass_from.check(
            self.validate_every >= 0,
            f"validate_every={self.validate_every}: expected 0 (never) or a number of steps",
        )
        dataclass_from.check(
            self.threads is None or self.threads > 0,
            f"threads={self.threads}: expected a positive integer or null",
        )
        dataclass_from.check(
            self.batch_size % self.accumulate == 0,
            f"accumulate={self.accumulate}: expected a divisor of batch_size={self.batch_size}",
        )
        dataclass_from.choice("precision", self.precision, ("auto", "fp32", "bf16"))
        dataclass_from.choice("device", self.device, ("auto", "cpu", "cuda"))
        dataclass_from.choice("linear", self.linear, linear.KERNELS)
        dataclass_from.choice("kernel", self.kernel, dispatch.KERNELS)


@dataclass
class Choice:
    """A scheme, modifier or retrofit with its typed options, its class and the file that it came from."""

    name: str
    options: Any
    cls: type
    file: Path
    from_user: bool  # defined outside the package

    @property
    def label(self) -> str:
        """`t5_bias`, or with what differs from the defaults: `t5_bias(num_buckets=64)`."""
        changed = _changes(self.options)
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def as_dict(self) -> dict:
        return {"name": self.name, **dataclasses.asdict(self.options)}

    def identity(self) -> dict:
        """What decides its numbers; code from outside may change under the same name."""
        return self.as_dict() | ({"code": code_hash(self.file)} if self.from_user else {})


@dataclass
class TrainConfig:
    scalars: Scalars
    model_name: str
    model: ModelConfig
    scheme: Choice
    dataset: dict  # checked by the dataset's own file
    tokenizer: dict  # checked by tokenizers.py
    optim: OptimConfig
    evaluation: EvaluationConfig
    tracking: dict  # checked by tracking.py
    modifiers: list[Choice] = field(
        default_factory=list
    )  # in the order of application, innermost first
    retrofit: Choice | None = None  # of an evaluation
    diagnostics: DiagnosticsConfig | None = None  # of an evaluation
    dataset_folders: Sequence[Path] = ()  # where the user's own datasets are

    @property
    def name(self) -> str:
        """`rope+ssmax`: what was trained."""
        return "+".join(choice.name for choice in (self.scheme, *self.modifiers))

    @property
    def label(self) -> str:
        """`rope+ssmax(bias=True)+yarn(factor=4)`: what is evaluated."""
        return "+".join(
            choice.label for choice in (self.scheme, *self.modifiers, self.retrofit) if choice
        )

    @property
    def diagnosed_lengths(self) -> list[int]:
        """Of the diagnostics: their own multiples of the training length, else those of the evaluation; always with the training length."""
        own = self.diagnostics.factors
        evaluation = (
            self.evaluation
            if own is None
            else dataclasses.replace(self.evaluation, factors=own, lengths=None)
        )
        return eval_lengths(evaluation, self.scalars.train_length)

    def make_scheme(self, options: Any, dimensions: Dimensions) -> Scheme:
        """The scheme inside its modifiers, not yet initialised."""
        return modified(
            self.scheme.cls(options, dimensions),
            [(choice.cls, choice.options) for choice in self.modifiers],
        )

    def as_dict(self) -> dict:
        """Everything of the training, resolved and plain, as config.yaml holds it. `check` reads it back to the same."""
        return {
            **dataclasses.asdict(self.scalars),
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


def check(given: Mapping[str, Any], user_folders: Sequence[Path] = ()) -> TrainConfig:
    """A plain mapping (resolved) -> TrainConfig. Raises ConfigError with one line.

    user_folders: folders with the user's scheme/, modifier/, retrofit/ and dataset/.
    """
    missing = [group for group in GROUPS if not isinstance(given.get(group), Mapping)]
    if missing:
        raise ConfigError(f"no {missing[0]} chosen; give {missing[0]}=NAME")
    scalars = dataclass_from.build(
        Scalars, {k: v for k, v in given.items() if k not in (*GROUPS, *AROUND, *BESIDE)}, ""
    )
    model = dataclass_from.build(ModelConfig, _without_name(given["model"]), "model")
    evaluation = dataclass_from.build(
        EvaluationConfig, _without_name(given["evaluation"]), "evaluation"
    )
    eval_lengths(
        evaluation, scalars.train_length
    )  # refuses impossible lengths before anything is read or trained
    return TrainConfig(
        scalars=scalars,
        model_name=str(given["model"].get("name", "custom")),
        model=model,
        scheme=choose(schemes, "scheme", given["scheme"], user_folders),
        dataset=dict(given["dataset"]),
        tokenizer=dict(given["tokenizer"]),
        optim=dataclass_from.build(OptimConfig, _without_name(given["optim"]), "optim"),
        evaluation=evaluation,
        tracking=dict(given["tracking"]),
        modifiers=choose_modifiers(given.get("modifiers") or {}, user_folders),
        retrofit=choose(retrofits, "retrofit", given["retrofit"], user_folders)
        if given.get("retrofit")
        else None,
        diagnostics=dataclass_from.build(
            DiagnosticsConfig, _without_name(given["diagnostics"]), "diagnostics"
        )
        if given.get("diagnostics")
        else None,
        dataset_folders=[folder / "dataset" for folder in user_folders],
    )


def choose(kind: Any, key: str, given: Mapping[str, Any], user_folders: Sequence[Path]) -> Choice:
    """One of `kind` (the package schemes or retrofits) by its name, with its options."""
    if not given.get("name"):
        raise ConfigError(
            f"{key} has no name; its YAML needs a first line `name: NAME`, the name of its code file"
        )
    return _choice(kind, key, str(given["name"]), _without_name(given), user_folders)


def choose_modifiers(given: Mapping[str, Any], user_folders: Sequence[Path]) -> list[Choice]:
    """Modifiers by name, with their options, in the order of application: modifiers/__init__.py."""
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"modifiers={given}: expected names with their options; give modifier=NAME or modifier=[NAME,NAME]"
        )
    found = [
        _choice(modifiers, f"modifiers.{name}", str(name), options or {}, user_folders)
        for name, options in given.items()
    ]
    return sorted(found, key=lambda choice: (choice.cls.stage, choice.name))


def _choice(
    kind: Any, key: str, name: str, options: Mapping[str, Any], user_folders: Sequence[Path]
) -> Choice:
    folders = [folder / kind.NOUN for folder in user_folders]
    cls, file = kind.load(name, folders), kind.source(name, folders)
    return Choice(
        name, dataclass_from.build(cls.Config, options, key), cls, file, file.parent != kind.HERE
    )


def scientific(config: TrainConfig, data: Mapping[str, str], precision: str) -> dict:
    """What decides the numbers of a run.

    data: label, fingerprint, tokenizer and, for a dataset of the user's, the hash of its code.
    precision: the resolved one.
    """
    s = config.scalars
    around = {choice.name: choice.identity() for choice in config.modifiers}
    return {
        "version": RESULTS_VERSION,
        "model": dataclasses.asdict(config.model),
        "scheme": config.scheme.identity(),
        "data": dict(data),
        "optim": dataclasses.asdict(config.optim),
        "train_length": s.train_length,
        "steps": s.steps,
        "batch_size": s.batch_size,
        "accumulate": s.accumulate,
        "cross_documents": s.cross_documents,
        "precision": precision,
        "seed": s.seed,
    } | (
        {"modifiers": around} if around else {}
    )  # without one, the identity is what it was before there were any


def run_id(config: TrainConfig, science: dict) -> str:
    """`t5_bias-python-tiny-L512-s0-1f3a9c2e`: readable, and unique by the hash at its end."""
    s = config.scalars
    return f"{config.name}-{science['data']['label']}-{config.model_name}-L{s.train_length}-s{s.seed}-{_hash(science)}"


def setting_id(science: dict) -> str:
    """Hash of everything scientific but scheme, modifiers and seed: runs with the same setting may share a figure."""
    return _hash(
        {key: value for key, value in science.items() if key not in ("scheme", "modifiers", "seed")}
    )


def evaluation_id(
    evaluation: EvaluationConfig, train_length: int, retrofit: Choice | None = None
) -> str:
    """Hash of what decides an evaluation's numbers (not the batch size). Without the retrofit: evaluations that may share a figure."""
    changed = {"retrofit": retrofit.identity()} if retrofit else {}
    return _hash(
        {
            "version": EVALUATION_VERSION,
            **deciding(evaluation),
            "lengths": eval_lengths(evaluation, train_length),
            **changed,
        }
    )


def diagnostics_id(config: TrainConfig) -> str:
    """Hash of what decides the numbers of its diagnostics: their settings, their lengths and the retrofit."""
    changed = {"retrofit": config.retrofit.identity()} if config.retrofit else {}
    settings = dataclasses.asdict(config.diagnostics) | {"factors": config.diagnosed_lengths}
    return _hash({"version": DIAGNOSTICS_VERSION, **settings, **changed})


def code_hash(file: Path) -> str:
    """Part of the identity of what comes from outside the package: its code may change under the same name."""
    return _hash(file.read_text())


def _changes(options: Any) -> list[str]:
    changed = []
    for option in dataclasses.fields(options):
        default = (
            option.default_factory() if option.default is dataclasses.MISSING else option.default
        )
        if getattr(options, option.name) != default:
            changed.append(f"{option.name}={str(getattr(options, option.name)).removesuffix('.0')}")
    return changed


def _without_name(given: Mapping[str, Any]) -> dict:
    return {key: value for key, value in given.items() if key != "name"}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
