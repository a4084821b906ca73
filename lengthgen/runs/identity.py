"""The identity of a run: a hash of what decides its numbers.

Paths, device, threads, kernels, tracking and progress are left out: they change no result.
"""

import dataclasses
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lengthgen.config.redaction import redact_text
from lengthgen.diagnostics.settings import DIAGNOSTICS_VERSION
from lengthgen.evaluation.protocols import (
    EVALUATION_VERSION,
    EvaluationConfig,
    deciding,
    eval_lengths,
)
from lengthgen.runs.train_config import Choice, TrainConfig
from lengthgen.training import ending

# Raised when a change of the code changes numbers: older runs are then not reused.
RESULTS_VERSION = 1
LONGEST = 199  # bytes of a run's id, the name of its folder
CUT = (70, 50, 40)  # of its scheme, dataset and model, where it would be longer
SHOWN = 64  # characters of a label
# Keys of optim that came later, and the values that leave a run as it was without them.
OPTIM_SINCE = {"positional_lr": 1.0, "schedule": "cosine", "decay": 0.2}


def scientific(config: TrainConfig, data: Mapping[str, str], precision: str) -> dict[str, Any]:
    """What decides the numbers of a run.

    data: label, fingerprint, tokenizer and, for a user's dataset, the hash of its code.
    precision: "fp32" or "bf16", never "auto".
    """
    s = config.settings
    science: dict[str, Any] = {
        "version": RESULTS_VERSION,
        "model": dataclasses.asdict(config.model),
        "scheme": of_choice(config.scheme),
        "data": dict(data),
        "optim": dataclasses.asdict(config.optim),
        "train_length": s.train_length,
        "steps": s.steps,
        "batch_size": s.batch_size,
        "accumulate": s.accumulate,
        "cross_documents": s.cross_documents,
        "precision": precision,
        "seed": s.seed,
    }
    # What is newer than the first runs has no key at its default, so that these keep their id.
    for name, default in OPTIM_SINCE.items():
        if science["optim"][name] == default:
            del science["optim"][name]
    if s.settle is not None:
        science["settle"] = {"nats": s.settle, "rule": ending.RULE}
    if config.start:
        science["from"] = {
            "weights": config.start.weights_sha256,
            "train_length": config.start.train_length,
            "retrofit": of_choice(config.start.retrofit) if config.start.retrofit else None,
        }
    if config.adapter:
        science["adapter"] = dataclasses.asdict(config.adapter)
    if config.modifiers:
        science["modifiers"] = {choice.name: of_choice(choice) for choice in config.modifiers}
    return science


def run_id(config: TrainConfig, science: Mapping[str, Any]) -> str:
    """`t5_bias-python-tiny-L512-s0-1f3a9c2e`: readable, and unique by the hash at its end."""
    s = config.settings
    parts = [word(part) for part in (config.name, science["data"]["label"], config.model_name)]
    end = f"L{s.train_length}-s{s.seed}-{_hash(science)}"
    if len("-".join([*parts, end]).encode()) > LONGEST:
        parts = [_cut(part, length) for part, length in zip(parts, CUT, strict=True)]
    return "-".join([*parts, end])


def word(text: str) -> str:
    """A user's words as a part of a file's name: letters, digits and `_.-+(),=`, others as `_`.

    Not unique: the hash at the end of an id is.
    """
    return re.sub(r"[^\w.+(),=-]", "_", shown(text))


def shown(text: str) -> str:
    """A user's label as tables, figures and dashboards show it: printable, short, no secret."""
    return printable(text)[:SHOWN].strip() or "unnamed"


def printable(text: str) -> str:
    """Without secrets, line ends and control characters."""
    characters = "".join(c if c.isprintable() else " " for c in without_secrets(text))
    return unicodedata.normalize("NFC", " ".join(characters.split()))


def without_secrets(label: str) -> str:
    """A label as it goes into the identity, so that a stored configuration gives the same one."""
    return redact_text(label)


def _cut(text: str, length: int) -> str:
    """At most so many bytes of UTF-8."""
    return text.encode()[:length].decode(errors="ignore")


def setting_id(science: Mapping[str, Any]) -> str:
    """Hash without scheme, modifiers and seed: runs with the same setting may share a figure."""
    varied = ("scheme", "modifiers", "seed", "from")
    return _hash({key: value for key, value in science.items() if key not in varied})


def evaluation_id(
    evaluation: EvaluationConfig,
    train_length: int,
    retrofit: Choice | None = None,
    at_step: int | None = None,
) -> str:
    """Hash of what decides an evaluation's numbers, which the batch size does not.

    Without the retrofit and the step: evaluations with the same id may share a figure.
    """
    return _hash(
        {"version": EVALUATION_VERSION}
        | deciding(evaluation)
        | {"lengths": eval_lengths(evaluation, train_length)}
        | _retrofit(retrofit)
        | ({"at_step": at_step} if at_step else {})
    )


def diagnostics_id(config: TrainConfig) -> str:
    """Hash of what decides the numbers of the diagnostics: settings, lengths and retrofit."""
    settings = dataclasses.asdict(config.diagnostics) if config.diagnostics else {}
    settings["factors"] = config.diagnosed_lengths
    if config.at_step:
        settings["at_step"] = config.at_step
    return _hash({"version": DIAGNOSTICS_VERSION} | settings | _retrofit(config.retrofit))


def of_choice(choice: Choice) -> dict[str, Any]:
    """Name, options and, from outside the package, a hash of the code, which users change.

    No option that is as runs had it before the option existed, so that they keep their id.
    """
    before = getattr(choice.cls.Config, "BEFORE", {})
    described = {
        name: value
        for name, value in choice.as_dict().items()
        if name not in before or value != before[name]
    }
    return described | ({"code": code_hash(choice.file)} if choice.from_user else {})


def code_hash(file: Path) -> str:
    return _hash(file.read_text())


def _retrofit(retrofit: Choice | None) -> dict[str, Any]:
    return {"retrofit": of_choice(retrofit)} if retrofit else {}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
