"""Run folders, their files, and the columns of their tables. Knows no torch and no pandas.

    results/runs/<run>/  config.yaml provenance.json metrics.jsonl checkpoints/ figures/ log
                         done.json (written last)
    results/runs/<run>/evaluation/<evaluation>/  settings.json lengths.csv documents.csv
                         positions.csv losses.npz

Every file is written whole or not at all (files.py). The columns of the tables are the contract
between evaluation, which writes them, and reporting/tables.py, which reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen import files

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
        ended = files.read_json(self.folder / "done.json", {}).get("training") or {}
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
    def evaluations(self) -> list[Path]:
        """The folders of its finished evaluations: those that hold every table."""
        folders = sorted(
            path for path in (self.folder / "evaluation").glob("[!.]*") if path.is_dir()
        )
        return [
            folder
            for folder in folders
            if all((folder / f"{table}.csv").is_file() for table in TABLES)
        ]


def run(folder: Path) -> RunFolder:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    status = "done" if (folder / "done.json").is_file() else "unfinished"
    try:
        config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        config = None
    if not isinstance(config, dict):
        return RunFolder(folder.name, folder, {}, "unreadable")
    return RunFolder(folder.name, folder, config, status)


def runs(results: Path | str) -> list[RunFolder]:
    """Every run under results/runs, by name. One broken folder does not hide the others."""
    folders = (path for path in (Path(results) / "runs").glob("[!.]*") if path.is_dir())
    return [run(folder) for folder in sorted(folders)]
