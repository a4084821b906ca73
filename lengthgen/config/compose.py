"""Words such as `scheme=alibi`, `seed=1` -> the composed configuration of one run, which is not run."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from lengthgen.config import catalogue, command_line, refusals

VERSION_BASE = "1.3"  # of Hydra's behaviour


def compose(
    overrides: Sequence[str] = (),
    *,
    command: str = "train",
    config_dir: Path | str | None = None,
    results: Path | str | None = None,
) -> DictConfig:
    """The configuration that `lengthgen COMMAND OVERRIDES` would use.

    overrides: as on the command line: `["scheme=alibi", "steps=50"]`. command: "train" or "evaluate".
    config_dir: a folder with the user's configurations. results: the folder of results. Raises ConfigError.
    """
    setup_globals()
    groups = [group.name for group in catalogue.groups(command)]
    request = command_line.arrange(overrides, groups)
    request.config_dir = Path(config_dir).absolute() if config_dir else None
    refusals.checked(command, request, groups)
    try:
        loader = refusals.loader(request.config_dir)
        config = loader.load_configuration(command, request.overrides, RunMode.RUN)
    except Exception as error:
        raise refusals.explained(command, request, error) from error
    with open_dict(config):
        del config["hydra"]  # Hydra's node: a job never sees it either
    if results is not None:
        # Not as an override: where config_dir has a folder of that name, Hydra takes it for a group.
        config["results"] = str(results)
    refusals.refuse_gaps(command, config)
    return config
