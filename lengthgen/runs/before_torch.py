"""What is refused before torch is imported, which takes seconds. run.py checks all of it again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lengthgen.config import dataclass_from
from lengthgen.evaluation.protocols import EvaluationConfig
from lengthgen.runs import extending, kept_code, pretrained_settings, stored_config, typed_groups
from lengthgen.runs.train_config import START, plain

Config = DictConfig | Mapping[str, Any]


def train(config: Config, user_folders: Sequence[Path]) -> None:
    """UserErrors of run.train, as far as they need no torch."""
    given, folders = plain(config), list(user_folders)
    if not extending.is_pretrained(given.get(START)):  # whose model is looked for with torch alone
        given, folders = extending.resolved(given, folders)
    typed_groups.typed(given, folders)


def evaluate(config: Config, user_folders: Sequence[Path]) -> None:
    """UserErrors of run.evaluate, as far as they need no torch."""
    options = plain(config)
    folder = stored_config.finished_run(options)
    trust_code = kept_code.trusted(options.get("trust_code", False))
    stored, folders = stored_config.read(folder, user_folders, trust_code)
    typed_groups.typed({**stored, **stored_config.changed(options)}, folders)


def pretrained(config: Config, user_folders: Sequence[Path]) -> None:
    """UserErrors of pretrained.evaluate about the groups alone: no model is looked for."""
    options = plain(config)
    pretrained_settings.typed(options)
    evaluation = typed_groups.without_name(options["evaluation"])
    dataclass_from.build(EvaluationConfig, evaluation, "evaluation")
    typed_groups.check_tracking(options["tracking"])
    typed_groups.look_up(options, user_folders)
