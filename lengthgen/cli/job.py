"""One job, a composed configuration on its way to runs/: checked without torch, then done."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lengthgen.cli import hydra_call, published_runs
from lengthgen.cli.engines import IN_PROCESS, Engine
from lengthgen.config import own_code, refusals
from lengthgen.runs import stopping

if TYPE_CHECKING:
    from lengthgen.runs.prepare import Run
    from lengthgen.runs.run import Begun, Outcome


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
    deadline: float | None = None  # time.time() at which --budget is spent
    skip_published: bool = False  # a run of a published folder is done
    engine: Engine = IN_PROCESS  # what runs the jobs of a sweep
    process: int = 0  # the id of the command's process


def run(request: JobRequest, config: DictConfig, begun: "Begun | None" = None) -> "Outcome":
    """begun: called with the run before its work (runs/run.py)."""
    refusals.refuse_gaps(request.command, config)
    from lengthgen.runs.process import prepare_environment

    # Before the import of torch, and here: a launcher may have started a new process.
    prepare_environment()
    # Provenance records the command as the user wrote it.
    command = "train" if request.command == "train" else "evaluate"
    # The command's own process has its timer.
    deadline = None if os.getpid() == request.process else request.deadline
    with (
        hydra_call.program("lengthgen", [command, *request.argv]),
        own_code.in_folders(request.user_folders),
        stopping.until(deadline),
    ):
        return WORK[request.command](config, list(request.user_folders), _begin(request, begun))


def _begin(request: JobRequest, begun: "Begun | None") -> "Begun":
    """`begun`, and what ends a job before its work."""

    def begin(run: "Run") -> "Outcome | None":
        if begun:
            begun(run)
        return published_runs.outcome(run) if request.skip_published else None

    return begin


# Whatever can be refused without torch is refused before its import, which takes seconds.


def _train(config: DictConfig, user_folders: list[Path], begun: "Begun") -> "Outcome":
    from lengthgen.runs import before_torch

    before_torch.train(config, user_folders)
    from lengthgen.runs import run

    return run.train(config, user_folders, begun=begun)


def _evaluate(config: DictConfig, user_folders: list[Path], begun: "Begun") -> "Outcome":
    from lengthgen.runs import before_torch

    before_torch.evaluate(config, user_folders)
    from lengthgen.runs import run

    return run.evaluate(config, user_folders, begun=begun)


def _evaluate_pretrained(config: DictConfig, user_folders: list[Path], begun: "Begun") -> "Outcome":
    from lengthgen.runs import before_torch

    before_torch.pretrained(config, user_folders)
    from lengthgen.runs import pretrained

    return pretrained.evaluate(config, user_folders, begun=begun)


WORK = {"train": _train, "evaluate": _evaluate, "pretrained": _evaluate_pretrained}
