"""Words such as `scheme=alibi`, `seed=1` -> the composed configuration of one run, without running it."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from lengthgen.config import catalogue, command_line, refusals

VERSION_BASE = "1.3"


def composed(
    command: str, argv: Sequence[str], config_dir: Path | None = None, results: Path | None = None
) -> DictConfig:
    """The configuration of one run as `lengthgen <command> ARGV` would have it; nothing is run. UserError for what the user can mend.

    results: the folder, set afterwards: as an override it would be refused where `config_dir` has a folder of that name.
    """
    setup_globals()
    groups = [group.name for group in catalogue.groups(command)]
    request = command_line.arrange(argv, groups)
    request.config_dir = config_dir
    refusals.checked(command, request, groups)
    try:
        config = refusals.loader(config_dir).load_configuration(
            command, request.overrides, RunMode.RUN
        )
    except Exception as error:
        raise refusals.explained(command, request, error) from error
    with open_dict(config):
        del config["hydra"]  # its own node, which a job never sees either
    if results is not None:
        config["results"] = str(results)
    refusals.refuse_gaps(command, config)
    return config
