"""Run folders and their files: what is written is written whole or not at all. Knows no torch and no pandas.

    results/runs/<run>/config.yaml provenance.json metrics.jsonl checkpoints/ figures/ log done.json (written last)
    results/runs/<run>/evaluation/<evaluation>/settings.json lengths.csv documents.csv positions.csv losses.npz

Every file is serialised beside its destination, flushed to the disk and moved over it in one step, so that a reader sees the
old file or the new one. Logs are appended with one write on an O_APPEND descriptor: several processes cannot tear each other's lines.
The tables are tidy CSV; the columns below are the contract between evaluation (which writes) and tables.py (which reads).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen import files

# Which run a row belongs to. scheme: a label such as t5_bias or t5_bias(num_buckets=64). setting: hash of everything scientific
# except scheme and seed. evaluation: hash of the evaluation's settings. Rows of different setting or evaluation are never compared.
IDENTITY = (
    "run",
    "scheme",
    "dataset",
    "model",
    "seed",
    "train_length",
    "steps",
    "setting",
    "evaluation",
)
# metric: loss [nats/token], perplexity, bits_per_byte, loss_change [nats/token, from train_length, same targets]; for data whose
# exact floor is known, floor and excess = loss - floor [nats/token, same tokens]. For data with answers all of these are of the answer
# tokens alone, and there are exact_match, the share of documents whose answer is wholly right, with Wilson's interval over documents, and
# token_accuracy, the share of answer tokens that are the model's most likely one (evaluation/exact_match.py). n_tokens: scored ones.
# status: ok, refused, oom, nonfinite; but for ok, value, low and high are empty and `reason` says why. leak: the loss is surely below its
# floor; the values are there as evidence, and no summary takes them.
LENGTHS = (
    *IDENTITY, "eval_length", "protocol", "metric", "value", "low", "high", "n_tokens", "n_documents", "dtype", "status", "reason",
)  # fmt: skip
# loss_sum in nats; floor_sum: the exact floor of the same tokens, empty where there is none. Tables from before it lack the column.
DOCUMENTS = (
    *IDENTITY,
    "eval_length",
    "protocol",
    "document",
    "loss_sum",
    "n_tokens",
    "n_bytes",
    "floor_sum",
)
# One bin of positions [position, position_end) in a window of eval_length tokens; value in nats/token.
POSITIONS = (
    *IDENTITY,
    "eval_length",
    "position",
    "position_end",
    "value",
    "low",
    "high",
    "n_tokens",
    "n_documents",
)
TABLES = {"lengths": LENGTHS, "documents": DOCUMENTS, "positions": POSITIONS}


@dataclass(frozen=True)
class Run:
    """One run folder. status: "done" (its last file is there), "unfinished", or "unreadable" (config.yaml is missing or broken)."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    status: str

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the run: command, commit, versions, device, threads. Empty if the file is missing or broken."""
        return files.read_json(self.folder / "provenance.json", {})

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


def run(folder: Path) -> Run:
    """The run in `folder`."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    status = "done" if (folder / "done.json").is_file() else "unfinished"
    try:
        config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        config = None
    if not isinstance(config, dict):
        return Run(folder.name, folder, {}, "unreadable")
    return Run(folder.name, folder, config, status)


def runs(results: Path | str) -> list[Run]:
    """Every run under results/runs, by name. One broken folder does not hide the others."""
    folders = (path for path in (Path(results) / "runs").glob("[!.]*") if path.is_dir())
    return [run(folder) for folder in sorted(folders)]
