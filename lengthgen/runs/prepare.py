"""From a checked configuration to a run that can start: data, device, precision, identity, folder."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch

from lengthgen.data.splits import Splits, prepare_splits
from lengthgen.errors import ConfigError
from lengthgen.runs import process
from lengthgen.runs import train_config as config
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.train_config import TrainConfig


@dataclass
class Run:
    """A checked configuration with its data, device and identity."""

    config: TrainConfig
    splits: Splits
    device: torch.device
    precision: str  # "fp32" | "bf16"
    science: dict
    folder: RunFolder

    @property
    def id(self) -> str:
        return self.folder.path.name

    @property
    def evaluation_id(self) -> str:
        """Of the evaluation's folder: its settings and its retrofit, if it has one."""
        return config.evaluation_id(
            self.config.evaluation, self.config.scalars.train_length, self.config.retrofit
        )

    @property
    def diagnostics_folder(self) -> Path | None:
        """Where the diagnostics that are asked for go; None if none are."""
        return (
            self.folder.path / "diagnostics" / config.diagnostics_id(self.config)
            if self.config.diagnostics
            else None
        )

    def autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def identity(self) -> dict:
        """The identity columns of every table row.

        A retrofit is told by `scheme`; `evaluation` is that of the settings alone, so that a run with and without it share a figure.
        """
        scalars = self.config.scalars
        return {
            "run": self.id,
            "scheme": self.config.label,
            "dataset": self.splits.label,
            "model": self.config.model_name,
            "seed": scalars.seed,
            "train_length": scalars.train_length,
            "steps": scalars.steps,
            "setting": config.setting_id(self.science),
            "evaluation": config.evaluation_id(self.config.evaluation, scalars.train_length),
        }


def prepare(checked: TrainConfig) -> Run:
    """Read (or build) the token stores, choose the device, and name the run. Trains and writes nothing."""
    scalars = checked.scalars
    process.prepare_torch(scalars.threads)
    process.keep_memory()
    device = _device(scalars.device)
    precision = (
        scalars.precision
        if scalars.precision != "auto"
        else ("bf16" if device.type == "cuda" else "fp32")
    )
    splits = prepare_splits(
        checked.dataset,
        checked.tokenizer,
        Path(scalars.cache) if scalars.cache else None,
        checked.dataset_folders,
    )
    data = {"label": splits.label, "fingerprint": splits.fingerprint, "tokenizer": splits.tokenizer}
    if splits.user_code:
        # the fingerprint is of the tokens alone; the code also decides which of them are scored
        data["code"] = config.code_hash(splits.user_code)
    science = config.scientific(checked, data, precision)
    folder = RunFolder(Path(scalars.results) / "runs" / config.run_id(checked, science))
    return Run(checked, splits, device, precision, science, folder)


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device=cuda: this machine has no usable NVIDIA GPU; give device=cpu or device=auto"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
