"""Registrations: what a study declared, stored before its first run, and whether that still stands.

    results/registrations/STUDY/1.yaml, 2.yaml, ...

Each holds the time, the commit, a hash and the declaration word for word; none is ever changed, and
all belong into version control. The hash covers what decides at one scale: the overrides of every
arm, conditions, seeds, grid, claims with their signs, thresholds and preconditions, and those
overrides of the command line that change a result. It does not cover comments, the order of keys,
or the words of a claim; the text shows a change of those.

A study runs under the registration of exactly what it declares, at the scale that was registered.
"""

import dataclasses
import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from lengthgen import files
from lengthgen.errors import ConfigError
from lengthgen.studies.declaration import Study
from lengthgen.studies.parts import Scale

FOLDER = "registrations"  # of results/
# Keys of the command line that change no result (configs/train.yaml).
MACHINE = {
    "cache", "checkpoint_every", "checkpoint_seconds", "compile", "deterministic", "device",
    "keep_checkpoints", "kernel", "linear", "log_every", "results", "threads", "tracking",
    "validate_every", "evaluate_every",
}  # fmt: skip
WORDS = ("claim",)  # of a claim: not hashed


@dataclass(frozen=True)
class Registration:
    """label: the study's name, with its scale and seeds where they are not the default ones."""

    study: str
    number: int
    label: str
    registered: str  # UTC, 2026-11-26T22:40:09.127+00:00
    hash: str
    commit: str  # of the declaration's repository; empty: none
    committed: bool  # the file was in that commit as it stands
    command: str
    declaration: str  # the YAML

    @property
    def date(self) -> str:
        return self.registered.partition("T")[0]


class _Block(yaml.SafeDumper):
    """Texts of several lines as blocks, so that people can read a registration."""


_Block.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def read(results: Path, study: str) -> list[Registration]:
    """Every registration of a study, in their order. ConfigError for a broken file."""
    found = []
    for path in (results / FOLDER / study).glob("*.yaml"):
        try:
            found.append(Registration(**yaml.safe_load(path.read_text(encoding="utf-8"))))
        except (OSError, TypeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{path}: no registration: {reason}; restore the file") from None
    return sorted(found, key=lambda one: one.number)


def all_of(results: Path) -> list[Registration]:
    """The log: every registration of every study, oldest first."""
    studies = sorted(path.name for path in (results / FOLDER).glob("*") if path.is_dir())
    log = [one for study in studies for one in read(results, study)]
    return sorted(log, key=lambda one: (one.registered, one.study, one.number))


def of(results: Path, study: Study, label: str, hashed: str) -> Registration | None:
    """The registration of exactly this declaration at this scale; the newest if there are more."""
    found = read(results, study.name)
    return next((one for one in found[::-1] if (one.label, one.hash) == (label, hashed)), None)


def register(
    results: Path, study: Study, label: str, hashed: str, command: str, source: Path
) -> Registration:
    """Store the declaration, unless it is stored already. source: the study's YAML file."""
    known = of(results, study, label, hashed)
    if known:
        return known
    number = max((one.number for one in read(results, study.name)), default=0) + 1
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    commit, committed = _commit(source)
    facts = (study.name, number, label, now, hashed, commit, committed, command, study.text)
    made = Registration(*facts)
    text = yaml.dump(dataclasses.asdict(made), Dumper=_Block, sort_keys=False, allow_unicode=True)
    files.write_text(results / FOLDER / study.name / f"{number}.yaml", text)
    return made


def state(registrations: Sequence[Registration], label: str, hashed: str) -> str:
    """How a study stands: `registered (2)`, `changed since registration 2`, `not registered`."""
    of_label = [one for one in registrations if one.label == label]
    same = [one for one in of_label if one.hash == hashed]
    if same:
        return f"registered ({same[-1].number}, {same[-1].date})"
    if of_label:
        return f"changed since registration {of_label[-1].number} ({of_label[-1].date})"
    return "not registered"


def digest(study: Study, scale: Scale, overrides: Sequence[str] = ()) -> str:
    """The hash of what decides a study at a scale. overrides: of the command line."""
    deciding = sorted(
        override for override in overrides if override.partition("=")[0].strip("+") not in MACHINE
    )
    content: dict[str, Any] = {
        "study": study.name,
        "seeds": {arm: scale.seeds_of(arm) for arm in study.arms},
        "arms": {arm: sorted(study.training(arm, scale)) for arm in study.arms},
        "conditions": {
            name: {"arms": sorted(one.arms), "overrides": sorted(one.overrides)}
            for name, one in study.conditions.items()
        },
        "claims": {
            name: {key: value for key, value in _given(claim).items() if key not in WORDS}
            for name, claim in study.claims.items()
        },
    }
    # Only what was asked for: a key that studies have from another version on changes no hash.
    if study.check:
        content["check"] = True
    if deciding:
        content["overrides"] = deciding
    if study.grid:
        content["grid"] = _given(study.grid)
    if study.starts:
        content["starts"] = dict(study.starts)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _given(options: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their defaults."""
    given = {}
    for field in dataclasses.fields(options):
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        if (value := getattr(options, field.name)) != default:
            given[field.name] = value
    return given


def _commit(source: Path) -> tuple[str, bool]:
    """(commit of the repository of a file, whether the file stands in it unchanged)."""

    def git(*arguments: str) -> str:
        words = ["git", "-C", str(source.resolve().parent), *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        tracked = bool(git("ls-files", "--", source.name))
        return commit, tracked and not git("status", "--porcelain", "--", source.name)
    except (OSError, subprocess.SubprocessError):
        return "", False
