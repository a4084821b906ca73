"""From the words of `lengthgen train ...` to its job, or to the jobs of a sweep."""

import os
from collections.abc import Sequence

from hydra.core.utils import setup_globals
from omegaconf import DictConfig

from lengthgen.cli import budget, chosen_runs, hydra_call, job, multirun, where_words
from lengthgen.cli.job import JobRequest
from lengthgen.config import catalogue, command_line, refusals, yaml_files
from lengthgen.config.command_line import CommandLine
from lengthgen.errors import ConfigError
from lengthgen.runs import stopping
from lengthgen.training import world


def main(command: str, argv: Sequence[str]) -> int:
    """Compose the configuration of `command` ("train" or "evaluate"), and run its job or jobs.

    Returns the exit code. Raises UserError.
    """
    with stopping.watched():  # from here on, the import of torch included
        return _main(command, argv)


def _main(command: str, argv: Sequence[str]) -> int:
    setup_globals()  # the resolvers ${now:...} and ${hydra:...}
    groups = [group.name for group in catalogue.groups(command)]
    conditions, words = where_words.split(command, argv)
    line = command_line.arrange(words, groups)
    if line.config_dir:
        yaml_files.check_folder(line.config_dir)
    chosen_runs.put(command, line, conditions)
    overrides = refusals.checked(command, line, groups)
    user_folders = (line.config_dir,) if line.config_dir else ()
    request = JobRequest(
        command,
        tuple(argv),
        user_folders,
        isolate=line.isolates,
        deadline=budget.deadline(line.own.get("--budget")),
        skip_published="--skip-published" in line.flag_names,
        process=os.getpid(),
    )
    if line.isolates and not line.multirun:
        raise ConfigError("--isolate is for the jobs of a sweep: give -m with it")
    if line.multirun:
        world.refuse_several("a sweep")
    with stopping.until(request.deadline):
        if line.multirun and line.runs_jobs:
            overrides += multirun.declared(command, line, overrides)
            return multirun.run(request, line, overrides)
        return _single(request, line)


def _single(request: JobRequest, line: CommandLine) -> int:
    # Kept from Hydra, which would report an exception in its way.
    errors: list[Exception] = []

    def work(config: DictConfig) -> None:
        try:
            job.run(request, config)
        except Exception as error:
            errors.append(error)

    hydra_call.call(request.command, line, work)
    if errors:
        raise errors[0]
    return 0
