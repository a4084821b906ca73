"""One job, a composed configuration on its way to runs/: checked without torch, then done."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lengthgen.cli import hydra_call
from lengthgen.config import own_code, refusals

if TYPE_CHECKING:
    from lengthgen.runs.run import Outcome


@dataclass(frozen=True)
class JobRequest:
    """What a job must know besides its configuration.

    Plain data: a launcher may carry it to another process.
    """

    command: str
    argv: tuple[str, ...]  # as the user wrote it
    user_folders: tuple[Path, ...]  # with the user's schemes, modifiers, retrofits and datasets
    n_jobs: int = 1
    varied: frozenset[str] = frozenset()  # keys that tell the jobs of a sweep apart
    isolate: bool = False  # each job of a sweep in a process of its own


def run(request: JobRequest, config: DictConfig) -> "Outcome":
    refusals.refuse_gaps(request.command, config)
    from lengthgen.runs.process import prepare_environment

    # Before the import of torch, and here: a launcher may have started a new process.
    prepare_environment()
    # Provenance records the command as the user wrote it.
    command = "train" if request.command == "train" else "evaluate"
    with (
        hydra_call.program("lengthgen", [command, *request.argv]),
        own_code.in_folders(request.user_folders),
    ):
        return WORK[request.command](config, list(request.user_folders))


# Whatever can be refused without torch is refused before its import, which takes seconds.


def _train(config: DictConfig, user_folders: list[Path]) -> "Outcome":
    from lengthgen.runs import before_torch

    before_torch.train(config, user_folders)
    from lengthgen.runs import run

    return run.train(config, user_folders)


def _evaluate(config: DictConfig, user_folders: list[Path]) -> "Outcome":
    from lengthgen.runs import before_torch

    before_torch.evaluate(config, user_folders)
    from lengthgen.runs import run

    return run.evaluate(config, user_folders)


def _evaluate_pretrained(config: DictConfig, user_folders: list[Path]) -> "Outcome":
    from lengthgen.runs import before_torch

    before_torch.pretrained(config, user_folders)
    from lengthgen.runs import pretrained

    return pretrained.evaluate(config, user_folders)


WORK = {"train": _train, "evaluate": _evaluate, "pretrained": _evaluate_pretrained}
