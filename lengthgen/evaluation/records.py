"""Run folders, their files, and the columns of their tables. Knows no torch and no pandas.

    results/runs/<run>/  config.yaml provenance.json metrics.jsonl checkpoints/ figures/ log
                         done.json (written last)
    results/runs/<run>/evaluation/<evaluation>/  settings.json lengths.csv documents.csv
                         positions.csv losses.npz manifest.json

Every file is written whole or not at all (files.py). What was damaged later is found by the seals
(seals.py): an evaluation has a manifest.json, done.json seals itself and the run's own files; what
versions before the seals wrote has none, and passes. The columns of the tables are the contract
between evaluation, which writes them, and reporting/tables.py, which reads them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation import seals

# Which run a row belongs to. scheme: a label such as t5_bias or t5_bias(num_buckets=64). setting:
# hash of everything scientific but scheme and seed. evaluation: hash of the evaluation's settings.
# Rows of different setting or evaluation are never compared.
IDENTITY = (
    "run", "scheme", "dataset", "model", "seed", "train_length", "steps", "setting", "evaluation",
)  # fmt: skip
# metric: loss [nats/token], perplexity, bits_per_byte, loss_change [nats/token, from train_length,
# on the same targets]; bigram (the loss of a table of token pairs of the training text on the same
# tokens) and below_bigram = bigram - loss [nats/token]: the floor of competence (bigram.py); where
# the exact floor is known, floor and excess = loss - floor [nats/token, same tokens]. For data with
# answers all of these are of the answer tokens alone, and there are exact_match (share of documents
# whose whole answer is right, Wilson's interval over documents) and token_accuracy (share of answer
# tokens that are the model's most likely one). n_tokens: scored ones. status: ok, refused, oom,
# nonfinite; unless ok, value, low and high are empty and `reason` says why. leak: the loss is below
# its floor; the values are there as evidence, and no summary takes them.
LENGTHS = (
    *IDENTITY, "eval_length", "protocol", "metric", "value", "low", "high",
    "n_tokens", "n_documents", "dtype", "status", "reason",
)  # fmt: skip
# loss_sum in nats; floor_sum: the exact floor of the same tokens, empty where there is none;
# bigram_sum: the loss of a bigram table on them (bigram.py). Older tables lack the last two.
DOCUMENTS = (
    *IDENTITY, "eval_length", "protocol", "document",
    "loss_sum", "n_tokens", "n_bytes", "floor_sum", "bigram_sum",
)  # fmt: skip
# A bin of positions [position, position_end) in a window of eval_length tokens; value in
# nats/token.
POSITIONS = (
    *IDENTITY, "eval_length", "position", "position_end", "value", "low", "high",
    "n_tokens", "n_documents",
)  # fmt: skip
SEGMENTS = "segments"  # in provenance.json: what computed which steps (runs/segments.py)
TABLES = {"lengths": LENGTHS, "documents": DOCUMENTS, "positions": POSITIONS}


@dataclass(frozen=True)
class RunFolder:
    """status: done (done.json is there), unfinished, or unreadable (no valid config.yaml)."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    status: str

    @property
    def provenance(self) -> dict[str, Any]:
        """Command, commit, versions, device, threads; empty if the file is missing or broken."""
        return files.read_json(self.folder / "provenance.json", {})

    @property
    def last_doubling(self) -> float | None:
        """By how many nats the last doubling of its steps improved the held-out loss at L.

        Of done.json (training/ending.py); else of the losses at half of the steps and at the end in
        metrics.jsonl. None where they were not measured.
        """
        ended = self.done.get("training") or {}
        if ended.get("last_doubling") is not None:
            return float(ended["last_doubling"])
        key = "validation/loss"
        losses = {
            row["step"]: row[key]
            for row in files.read_jsonl(self.folder / "metrics.jsonl")
            if key in row
        }
        steps = self.config.get("steps")
        if not isinstance(steps, int) or not {steps, steps // 2} <= losses.keys():
            return None
        return float(losses[steps // 2] - losses[steps])

    @property
    def mixed(self) -> list[str]:
        """What differs between the segments of the training; empty for one of a single piece."""
        first, *others = self.provenance.get(SEGMENTS) or [{}]
        names = (name for name in first if name != "after_step")
        return [name for name in names if any(one.get(name) != first[name] for one in others)]

    @cached_property
    def done(self) -> dict[str, Any]:
        return read_done(self.folder)

    @property
    def evaluations(self) -> list[Path]:
        """The folders of its finished evaluations: sealed ones, and those that hold every table."""
        folders = sorted(path for path in (self.folder / "evaluation").glob("*") if path.is_dir())
        return [
            folder
            for folder in folders
            if re.fullmatch(r"[\w-]+", folder.name)  # no leftover of a copy or a writer
            and (
                seals.is_sealed(folder)
                or all((folder / f"{table}.csv").is_file() for table in TABLES)
            )
        ]

    @property
    def faults(self) -> list[str]:
        """What is damaged or missing of the run's own files, each in a few words."""
        if (self.folder / "done.json").is_file() and _read_done(self.folder) is None:
            return ["done.json is damaged"]
        if not _is_sealed(self.done):
            return []
        found = seals.differing(self.folder, self.done["sha256"])
        there = {folder.name for folder in self.evaluations}
        return found + [
            f"evaluation/{name} is missing"
            for name in self.done["evaluations"]
            if name not in there
        ]

    def faults_of(self, evaluation: Path) -> list[str]:
        """What is damaged or missing in one of its evaluations, each in a few words."""
        found = seals.faults(evaluation, evaluation_seal(self.name, evaluation.name))
        if not seals.is_sealed(evaluation) and evaluation.name in self.done.get("sealed", ()):
            found.append(f"{seals.MANIFEST} is missing")
        return found


def evaluation_seal(run: str, evaluation: str) -> str:
    """Whose folder the manifest of an evaluation says that it is."""
    return f"{run}/{evaluation}"


def read_done(folder: Path) -> dict[str, Any]:
    """What a run's done.json says; empty if it is missing or damaged: the run is not done then."""
    return _read_done(folder) or {}


def _read_done(folder: Path) -> dict[str, Any] | None:
    """None where it is damaged, be it that its seal's key is."""
    try:
        about = files.read_sealed(folder / "done.json") or {}
    except DataError:
        return None
    unsealed = files.SEAL not in files.read_json(folder / "done.json", {})
    return None if unsealed and _is_sealed(about) else about


def _is_sealed(done: Mapping[str, Any]) -> bool:
    """False for those of versions before the seals, which have none of these keys."""
    return not {"sha256", "sealed"}.isdisjoint(done)


def run(folder: Path) -> RunFolder:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    status = "done" if (folder / "done.json").is_file() else "unfinished"
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        config = yaml.load(text, loader)  # nosec B506 # both loaders are safe ones
    except (OSError, ValueError, yaml.YAMLError):
        config = None
    if not isinstance(config, dict):
        return RunFolder(folder.name, folder, {}, "unreadable")
    return RunFolder(folder.name, folder, config, status)


def runs(results: Path | str) -> list[RunFolder]:
    """Every run under results/runs, by name. One broken folder does not hide the others."""
    folders = (path for path in (Path(results) / "runs").glob("[!.]*") if path.is_dir())
    return [run(folder) for folder in sorted(folders)]
