"""Words such as `scheme=alibi`, `seed=1` -> the composed configuration of one run."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from lengthgen.config import catalogue, command_line, refusals, yaml_files
from lengthgen.errors import UserError

VERSION_BASE = "1.3"  # of Hydra's behaviour


def compose(
    overrides: Sequence[str] = (),
    *,
    command: str = "train",
    config_dir: Path | str | None = None,
    results: Path | str | None = None,
) -> DictConfig:
    """The configuration that `lengthgen COMMAND OVERRIDES` would use. Raises ConfigError.

    overrides: as on the command line, `["scheme=alibi", "steps=50"]`. command: train or evaluate.
    config_dir: a folder with the user's configurations. results: the folder of results.
    """
    setup_globals()
    groups = [group.name for group in catalogue.groups(command)]
    line = command_line.arrange(overrides, groups)
    line.config_dir = Path(config_dir).absolute() if config_dir else None
    if line.config_dir:
        yaml_files.check_folder(line.config_dir)
    refusals.checked(command, line, groups)
    try:
        loader = refusals.loader(line.config_dir)
        config = loader.load_configuration(command, line.overrides, RunMode.RUN)
    except UserError:
        raise
    except Exception as error:
        raise refusals.explained(command, line, error) from error
    with open_dict(config):
        del config["hydra"]  # Hydra's node: a job never sees it either
    if results is not None:
        # Not as an override: where config_dir has a folder results/, Hydra takes it for a group.
        config["results"] = str(results)
    refusals.refuse_gaps(command, config)
    return config
