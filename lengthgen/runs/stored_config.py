"""A finished run as an evaluation finds it: its folder, and its configuration. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen.config import paths, yaml_files
from lengthgen.errors import CheckpointError, ConfigError
from lengthgen.evaluation import records
from lengthgen.runs import kept_code, train_config
from lengthgen.runs.folder import RunFolder, find

# Keys that an evaluation may change; the others are the training's.
PER_EVALUATION = (
    "evaluation", "retrofit", "diagnostics", "at_step",
    "tracking", "device", "threads", "linear", "kernel", "cache", "results",
)  # fmt: skip


def finished_run(options: Mapping[str, Any], key: str = "run") -> RunFolder:
    """The run that a command names by `key`. ConfigError for none, CheckpointError for one that is
    not finished or is damaged.
    """
    folder = find(paths.folder(options["results"], "results"), str(options[key]), key)
    name = folder.path.name
    refuse_pretrained(folder, key)
    if not folder.ended:
        raise CheckpointError(f"run {name} is not finished; rerun its training command")
    folder.refuse_links()
    if faults := [each for each in folder.faults if not each.startswith("evaluation/")]:
        raise CheckpointError(
            f"run {name}: {'; '.join(faults)}; rerun its training command, which mends it"
        )
    return folder


def refuse_pretrained(folder: RunFolder, key: str = "run") -> None:
    """ConfigError for the run of a pretrained model, whose weights are elsewhere."""
    model = records.run(folder.path).config.get("pretrained")  # nothing of a damaged one
    if model is not None:
        instead = f"model={model} and its dataset" if key == "run" else f"{key}={model}"
        raise ConfigError(
            f"run {folder.path.name} is of a pretrained model; give {instead} instead of {key}=..."
        )


def changed(options: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation changes of the run's configuration."""
    changed = {key: options[key] for key in PER_EVALUATION if key in options}
    return changed | {"evaluate_at_steps": []}  # at_step chooses one of them


def read(
    folder: RunFolder, user_folders: Sequence[Path], trust_code: bool, retrofit: str = ""
) -> tuple[dict[str, Any], list[Path]]:
    """What config.yaml holds, and the folders of its code. ConfigError.

    retrofit: the hash of a retrofit's code that the folder keeps.
    """
    refuse_pretrained(folder)
    kept_code.refuse_interpolations(folder)
    stored = train_config.plain(yaml_files.load(folder.config))
    # The run folder comes first: it holds the code that the run was trained with.
    return stored, kept_code.folders(folder, user_folders, trust_code, retrofit)
