"""Which of Hydra's own settings a user may change: those that lengthgen uses.

Hydra makes objects of classes that its configuration names (callbacks, log handlers, launchers) and
imports packages of its search path, before lengthgen's own code is called. So a configuration that
asks for more is refused where it is composed: `Loader` takes the place of Hydra's.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal import hydra as hydra_main
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lengthgen.config import catalogue, paths
from lengthgen.errors import ConfigError

ALLOWED = (
    "hydra/launcher, hydra.launcher.*, hydra/sweeper, hydra.sweeper.params, .max_batch_size, "
    ".n_trials, .n_jobs and .seed, "
    "hydra.verbose, hydra.sweep.dir and hydra.run.dir (inside of results)"
)
PLUGINS = "hydra_plugins.hydra_{0}_launcher.{0}_launcher.{1}Launcher"
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
JOBLIB = PLUGINS.format("joblib", "Joblib")
SUBMITIT_LOCAL, SUBMITIT_SLURM = (PLUGINS.format("submitit", one) for one in ("Local", "Slurm"))
RAY = "hydra_plugins.lengthgen_ray.RayLauncher"
LAUNCHERS = {BASIC, JOBLIB, SUBMITIT_LOCAL, SUBMITIT_SLURM, RAY}
OPTUNA = "hydra_plugins.lengthgen_optuna.OptunaSweeper"
# Settings of a sweeper that are whole numbers: the smallest of each.
COUNTS = {"n_trials": 1, "n_jobs": 1, "seed": 0, "max_batch_size": 1}
# Settings of launchers that hold commands or folders: from the command line alone, not from a file.
TYPED_BY_HAND = (
    "setup", "additional_parameters", "srun_args", "python", "submitit_folder", "temp_folder",
    "address",
)  # fmt: skip
SUBMITIT_FOLDER = "${hydra.sweep.dir}/.submitit/%j"  # its default
# What Hydra itself notes in its node.
NOTED = ("job.name", "job.id", "job.num", "job.config_name", "job.override_dirname")
# And what is checked by itself.
CHECKED = ("overrides", "runtime", "launcher", "sweeper", "verbose")


class Loader(ConfigLoaderImpl):
    """Hydra's loader, which refuses with a ConfigError what is not for a user to set."""

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        for text in overrides:
            # Hydra imports a package `pkg://...` of it while it composes.
            if text.lstrip("+~").startswith("hydra.searchpath"):
                raise refused("hydra.searchpath")
        config = super().load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )
        if config_name:
            refuse_foreign(config, _untouched(config_name), overrides)
        return config


@contextmanager
def refused_in_time() -> Iterator[None]:
    """Within it Hydra composes with `Loader`, in the processes of a launcher too."""
    before = hydra_main.ConfigLoaderImpl
    hydra_main.ConfigLoaderImpl = Loader  # type: ignore[misc]
    try:
        yield
    finally:
        hydra_main.ConfigLoaderImpl = before  # type: ignore[misc]


def refuse_foreign(
    config: DictConfig, untouched: Mapping[str, Any], overrides: Sequence[str]
) -> None:
    """ConfigError for what a composed configuration makes Hydra do beside lengthgen's own needs.

    untouched: Hydra's node where nobody has changed it. overrides: what was typed.
    """
    plain: Any = OmegaConf.to_container(config, resolve=False)
    node = plain.pop("hydra")
    if place := next(_classes(plain), None):
        raise ConfigError(f"{place}: lengthgen makes no object of a class that is named there")
    if not isinstance(node, Mapping):
        raise refused("hydra")
    _check_launcher(node.get("launcher"), overrides)
    _check_sweeper(node.get("sweeper"), untouched["sweeper"])
    if not isinstance(node.get("verbose"), bool):
        raise ConfigError("hydra.verbose: expected true or false")
    for key in _differences(node, untouched):
        if key in ("run.dir", "sweep.dir"):
            _check_inside(config, key)
        elif key == "mode" and any(text.startswith("hydra.mode=") for text in overrides):
            continue  # Hydra's own word, as `checked` of refusals.py takes none of a user's
        elif key not in NOTED and key.partition(".")[0] not in CHECKED:
            raise refused(f"hydra.{key}")


@functools.cache
def _untouched(command: str) -> dict[str, Any]:
    """Hydra's node of a command without options, as the package's own files make it."""
    loader = ConfigLoaderImpl(create_config_search_path(str(catalogue.folder())))
    config = loader.load_configuration(command, [], RunMode.RUN)
    node: Any = OmegaConf.to_container(config.hydra, resolve=False)
    return node


def refused(key: str) -> ConfigError:
    return ConfigError(f"{key} is not for a user to set; of Hydra's settings there are: {ALLOWED}")


def _check_launcher(launcher: Any, overrides: Sequence[str]) -> None:
    name = launcher.get("_target_") if isinstance(launcher, Mapping) else launcher
    if not isinstance(launcher, Mapping) or name not in LAUNCHERS:
        raise ConfigError(
            f"hydra.launcher._target_={name}: expected hydra/launcher=basic, joblib, "
            "submitit_local, submitit_slurm or ray"
        )
    below = {key: value for key, value in launcher.items() if key != "_target_"}
    if place := next(_classes(below, "hydra.launcher."), None):
        raise refused(place)
    for key in TYPED_BY_HAND:
        start = f"hydra.launcher.{key}"
        given = below.get(key) not in (None, {}, [], SUBMITIT_FOLDER)
        if given and not _typed(start, overrides):
            raise ConfigError(f"{start}: expected on the command line, not in a file")


def _typed(start: str, overrides: Sequence[str]) -> bool:
    return any(text.lstrip("+").startswith(start) for text in overrides)


def _check_sweeper(sweeper: Any, untouched: Mapping[str, Any]) -> None:
    """Its class is one of two, its settings are numbers, and it sweeps over none of Hydra's."""
    known = dict(sweeper) if isinstance(sweeper, Mapping) else {}
    params, target = known.pop("params", None) or {}, known.pop("_target_", None)
    if target not in (untouched["_target_"], OPTUNA) or not known.keys() <= COUNTS.keys():
        raise refused("hydra.sweeper")
    for key, value in known.items():
        optional = key == "max_batch_size" and value is None
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not optional and not (whole and value >= COUNTS[key]):
            expected = "a positive integer" if COUNTS[key] else "an integer from 0"
            raise ConfigError(f"hydra.sweeper.{key}={value}: expected {expected}")
    if not isinstance(params, Mapping):
        raise ConfigError("hydra.sweeper.params: expected keys with their values")
    for key in params:
        if str(key).lstrip("+~").startswith("hydra"):
            raise refused(f"hydra.sweeper.params: {key}")


def _check_inside(config: DictConfig, key: str) -> None:
    """ConfigError unless the folder is in that of results, links followed."""
    folder = Path(str(OmegaConf.select(config.hydra, key)))
    results = paths.folder(str(config.results), "results")
    if not folder.expanduser().resolve().is_relative_to(results.resolve()):
        raise ConfigError(f"hydra.{key}={folder}: expected a folder in results={results}")


def _classes(value: Any, prefix: str = "") -> Iterator[str]:
    """The places of keys that name a class or a function to call."""
    if isinstance(value, Mapping):
        for key, inside in value.items():
            if key in ("_target_", "_partial_", "_convert_", "_recursive_", "_args_"):
                yield f"{prefix}{key}"
            yield from _classes(inside, f"{prefix}{key}.")
    elif isinstance(value, list):
        for index, inside in enumerate(value):
            yield from _classes(inside, f"{prefix}{index}.")


def _differences(node: Any, untouched: Any, prefix: str = "") -> Iterator[str]:
    """The places of what is not as it was, down to single values."""
    if isinstance(node, Mapping) and isinstance(untouched, Mapping):
        for key in sorted({*node, *untouched}, key=str):
            if node.get(key) != untouched.get(key):
                yield from _differences(node.get(key), untouched.get(key), f"{prefix}{key}.")
    elif node != untouched:
        yield prefix.rstrip(".")
