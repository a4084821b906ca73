"""A checked configuration becomes a run that can start: data, device, precision, identity."""

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from lengthgen import model as models
from lengthgen.data import batches
from lengthgen.data.splits import Splits, prepare_splits
from lengthgen.data.tokens import TokenStore
from lengthgen.errors import ConfigError
from lengthgen.runs import extending, identity, process
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.train_config import TrainConfig
from lengthgen.training.ranks import ALONE, Ranks


@dataclass
class Run:
    """A checked configuration with its data, device and identity."""

    config: TrainConfig
    splits: Splits
    device: torch.device
    precision: str  # "fp32" | "bf16"
    science: dict[str, Any]
    folder: RunFolder
    ranks: Ranks = ALONE  # which train it together

    @property
    def id(self) -> str:
        return self.folder.path.name

    @property
    def evaluation_id(self) -> str:
        """Of the evaluation's folder: its settings and its retrofit, if it has one."""
        config = self.config
        return identity.evaluation_id(
            config.evaluation, config.settings.train_length, config.retrofit, config.at_step
        )

    @property
    def diagnostics_folder(self) -> Path | None:
        """Where the diagnostics go; None if none were requested."""
        if not self.config.diagnostics:
            return None
        return self.folder.path / "diagnostics" / identity.diagnostics_id(self.config)

    @property
    def tracked(self) -> dict[str, Any]:
        """The configuration as a dashboard holds it."""
        retrofit = self.config.retrofit
        return self.config.as_dict() | ({"retrofit": retrofit.as_dict()} if retrofit else {})

    def autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def crops(
        self, store: TokenStore, seed: int, step: int, size: int, rows: slice = batches.ALL
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets (size, train_length) of one step, on CPU. rows: these alone."""
        settings = self.config.settings
        length, across = settings.train_length, settings.cross_documents
        return batches.crops(
            store, seed=seed, step=step, batch_size=size, length=length, cross_documents=across,
            rows=rows,
        )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """The identity columns of every table row.

        `scheme` names the retrofit; `evaluation` leaves it out, so that a run with and without it
        share a figure.
        """
        config, settings = self.config, self.config.settings
        return {
            "run": self.id,
            "scheme": identity.printable(config.label),
            "dataset": self.splits.label,
            "model": config.model_name,
            "seed": settings.seed,
            "train_length": settings.train_length,
            "steps": config.at_step or settings.steps,
            "setting": identity.setting_id(self.science),
            "evaluation": identity.evaluation_id(config.evaluation, settings.train_length),
        }


def prepare(config: TrainConfig, ranks: Ranks = ALONE) -> Run:
    """Read (or build) the token stores, choose the device, name the run. Writes nothing else."""
    settings = config.settings
    process.prepare_torch(settings.threads)
    process.keep_memory()
    device, precision = placed(settings.device, settings.precision, "device=", ranks)
    _refuse_ranks(config, ranks)
    process.only_deterministic(settings.deterministic and device.type == "cuda")
    cache = Path(settings.cache) if settings.cache else None
    splits = prepare_splits(config.dataset, config.tokenizer, cache, config.dataset_folders)
    label = identity.without_secrets(splits.label)
    data = {"label": label, "fingerprint": splits.fingerprint, "tokenizer": splits.tokenizer}
    if splits.user_code:
        # The fingerprint is of the tokens alone; the code also decides which of them are scored.
        data["code"] = identity.code_hash(splits.user_code)
    science = identity.scientific(config, data, precision)
    splits = dataclasses.replace(splits, label=identity.shown(label))
    config = dataclasses.replace(config, model_name=identity.shown(config.model_name))
    folder = RunFolder(Path(settings.results) / "runs" / identity.run_id(config, science))
    return Run(config, splits, device, precision, science, folder, ranks)


def placed(device: str, precision: str, key: str, ranks: Ranks = ALONE) -> tuple[torch.device, str]:
    """What `auto` stands for here; of several ranks each has the GPU of its own number.

    ConfigError, which names `key`, for a GPU that is not there.
    """
    on_cuda = device != "cpu" and torch.cuda.is_available()
    if device.startswith("cuda") and not on_cuda:
        raise ConfigError(
            f"{key}{device}: this machine has no usable NVIDIA GPU; give {key}cpu or {key}auto"
        )
    if precision == "auto":
        precision = "bf16" if on_cuda else "fp32"
    if not on_cuda:
        return torch.device("cpu"), precision
    chosen = torch.device("cuda" if device == "auto" else device)
    if ranks.size > 1:
        if chosen.index is not None:
            raise ConfigError(f"{key}{device}: of several ranks each has its own GPU; {key}cuda")
        chosen = torch.device("cuda", ranks.local_rank)
    if chosen.index is not None:
        if chosen.index >= (count := torch.cuda.device_count()):
            raise ConfigError(
                f"{chosen}: this machine has {count} GPUs, from cuda:0; start at most as many "
                f"ranks on it, or give {key}cpu"
            )
        torch.cuda.set_device(chosen)  # where Triton's kernels run
    return chosen, precision


def _refuse_ranks(config: TrainConfig, ranks: Ranks) -> None:
    """ConfigError for a training that cannot be done so by several ranks."""
    settings = config.settings
    if settings.batch_size % ranks.size:
        raise ConfigError(
            f"batch_size={settings.batch_size} over {ranks.size} ranks: expected a multiple, for "
            "each computes as many windows of a step"
        )
    if settings.sharding != "fsdp" or ranks.size == 1:
        return
    if config.start and config.start.pretrained:
        raise ConfigError("sharding=fsdp with a pretrained model: expected sharding=none")
    if settings.compile:
        raise ConfigError("sharding=fsdp with compile=true: expected compile=null or false")


def untrained_model(run: Run) -> models.Transformer:
    """The run's model with the weights of its seed, or of the pretrained model that it starts
    from, on its device."""
    start = run.config.start
    if start and start.pretrained:
        model: models.Transformer = extending.pretrained(run.config)
    else:
        model = _of_seed(run)
    model.scheme = extending.around(run.config, model.scheme)
    model.to(run.device)
    model.use_kernel(run.config.settings.kernel)
    model.use_linear(run.config.settings.linear)
    return model


def _of_seed(run: Run) -> models.Transformer:
    return models.build(
        cast(models.ModelConfig, run.config.model),
        run.config.make_scheme,
        run.config.scheme.options,
        train_length=run.config.settings.train_length,
        vocab_size=run.splits.vocab_size,
        seed=run.config.settings.seed,
    )
