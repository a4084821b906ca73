"""The ways of reading longer input that were evaluated for one run: as trained, and by retrofit."""

from pathlib import Path

from lengthgen.errors import ConfigError
from lengthgen.evaluation import records
from lengthgen.reporting import publication
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun, Material

MATCHED = "matched"


def subjects(run: Path, evaluation: str | None = None) -> Material:
    """Label -> its evaluation, of the evaluations with the same settings; the plain one first.

    evaluation: the id of these settings (a column of lengths.csv); None: those with the most
    subjects. ConfigError where there are none.
    """
    by_settings: dict[str, dict[str, Path]] = {}
    for first, folder in publication.evaluations(records.run(run)):
        by_settings.setdefault(first["evaluation"], {})[first["scheme"]] = folder
    if not by_settings:
        raise ConfigError(f"run {run.name} has no finished evaluation; evaluate it first")
    if evaluation is not None and evaluation not in by_settings:
        known = ", ".join(sorted(by_settings))
        raise ConfigError(f"--evaluation {evaluation}: run {run.name} has {known}")
    chosen = evaluation or max(sorted(by_settings), key=lambda key: len(by_settings[key]))
    folders = by_settings[chosen]
    # What nothing was added to has the shortest label, as every other one begins with it.
    labels = sorted(folders, key=lambda label: (len(label), label))
    arms = {label: EvaluatedArm(label, [EvaluatedRun(folders[label])]) for label in labels}
    if not any(arm.evaluations[0].lengths(MATCHED) for arm in arms.values()):
        raise ConfigError(f"evaluation {chosen} of {run.name} has no matched losses to compare")
    return Material(arms)
