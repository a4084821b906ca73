"""A run out of its folder: prepared again from its configuration, with its weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lengthgen import files
from lengthgen.config import paths
from lengthgen.data.splits import Splits
from lengthgen.errors import CheckpointError
from lengthgen.model import Transformer
from lengthgen.runs import extending, retrofitting, stored_config, train_config
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.prepare import Run, prepare, untrained_model
from lengthgen.training import checkpoint


def trained_model(folder: RunFolder, trust_code: bool = False) -> tuple[Transformer, Splits]:
    """A run's trained model, in evaluation mode, and its data. CheckpointError without weights.

    trust_code: as in `load_run`.
    """
    run = stored_run(folder, {"retrofit": None}, trust_code=trust_code)
    return with_weights(run, folder), run.splits


def evaluated_model(evaluation: Path, trust_code: bool = False) -> tuple[Transformer, Splits]:
    """An evaluation's model, with its retrofit, and data. CheckpointError without weights.

    trust_code: as in `load_run`.
    """
    folder = RunFolder(evaluation.parent.parent)
    origin = files.read_json(evaluation / "settings.json", {}).get("origin", {})
    stored = origin.get("retrofit") or {}
    options = {key: value for key, value in stored.items() if key not in retrofitting.ADDED}
    code = paths.name(str(stored["code"]), "retrofit code") if "code" in stored else ""
    changed = {"retrofit": options or None}
    run = stored_run(folder, changed, trust_code=trust_code, retrofit=code)
    model = with_weights(run, folder)
    retrofitting.apply(run, model)
    return model, run.splits


def stored_run(
    folder: RunFolder,
    changed: Mapping[str, Any],
    user_folders: Sequence[Path] = (),
    trust_code: bool = False,
    retrofit: str = "",
) -> Run:
    """The run of a folder, prepared again from its configuration with some keys changed.

    retrofit: the hash of a retrofit's code that the folder keeps.
    """
    stored, folders = stored_config.read(folder, user_folders, trust_code, retrofit)
    stored = train_config.as_trained(stored, folders)
    given = extending.completed({**stored, **changed}, folders)
    return prepare(train_config.check(given, folders))


def with_weights(run: Run, folder: RunFolder) -> Transformer:
    model = untrained_model(run)
    if run.config.at_step:
        load_kept(run, folder, model)
        return model.eval()
    saved = checkpoint.load_newest(folder.checkpoints, run.device, folder.path.name)
    if saved is None:
        raise CheckpointError(
            f"run {folder.path.name} has no valid weights; delete {folder.path} and train again"
        )
    with checkpoint.fitting(saved):
        model.load_state_dict(saved["model"])
    folder.check_weights(checkpoint.weights_sha256(model))
    model.scheme.begin_step(saved["step"], saved["step"])
    return model.eval()


def not_kept(folder: RunFolder, steps: Sequence[int]) -> list[int]:
    """Those of `steps` that a finished training went past without keeping its weights."""
    newest = checkpoint.newest(folder.checkpoints)
    last = int(newest.name.removeprefix("step-")) if newest else 0
    kept = {path.name for path in folder.kept_weights.glob("step-*")}
    return [step for step in steps if step < last and f"step-{step:06d}" not in kept]


def load_kept(run: Run, folder: RunFolder, model: Transformer) -> None:
    """The weights after `at_step` steps. CheckpointError if the run kept none."""
    step = cast(int, run.config.at_step)
    saved = checkpoint.load(folder.kept_weights, step, run.device, folder.path.name)
    if saved is None:
        kept = sorted(int(path.name[5:]) for path in folder.kept_weights.glob("step-*"))
        raise CheckpointError(
            f"run {folder.path.name} kept no weights of step {step} (it has {kept or 'none'}); "
            f"delete {folder.path} and train again with keep_at_steps=[{step}]"
        )
    with checkpoint.fitting(saved):
        model.load_state_dict(saved["model"])
    model.scheme.begin_step(step, run.config.settings.steps)
