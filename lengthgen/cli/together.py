"""`together=true`: the jobs of a sweep are trained as one program, before each is completed."""

import sys
from collections.abc import Iterable, Iterator, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from lengthgen.cli import hydra_call, published_runs
from lengthgen.cli.job import JobRequest
from lengthgen.config import messages, own_code
from lengthgen.errors import Interrupted, UserError


def train(request: JobRequest, loader: ConfigLoader, jobs: Iterable[Sequence[str]]) -> None:
    """Train those of the jobs that can be, together. What one of them is refused for, it says
    itself when its turn comes. Interrupted.

    jobs: the overrides of each.
    """
    configs = _composed(request.command, loader, jobs)
    from lengthgen.runs.process import prepare_environment

    prepare_environment()  # before the import of torch
    with (
        hydra_call.program("lengthgen", [request.command, *request.argv]),
        own_code.in_folders(request.user_folders),
    ):
        from lengthgen.runs import run

        try:
            run.train_together(
                configs,
                request.user_folders,
                left_out=lambda run: bool(request.skip_published and published_runs.outcome(run)),
            )
        except Interrupted:
            raise
        except UserError as error:
            print(f"lengthgen: together: {messages.in_one_line(error)}", file=sys.stderr)


def _composed(
    command: str, loader: ConfigLoader, jobs: Iterable[Sequence[str]]
) -> Iterator[DictConfig]:
    for overrides in jobs:
        config = loader.load_configuration(command, list(overrides), RunMode.RUN)
        with open_dict(config):
            del config["hydra"]
        yield config
