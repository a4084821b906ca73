"""The ways of reading longer input that were evaluated: of one run or several, as trained, and by
retrofit, all on the same targets."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lengthgen.errors import ConfigError
from lengthgen.evaluation import records
from lengthgen.reporting import publication
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun, Material

MATCHED = "matched"


def subjects(runs: Sequence[Path], evaluation: str | None = None) -> Material:
    """Label -> its evaluation, on the targets of the first run; its plain evaluation first.

    evaluation: the id of the first run's settings (a column of lengths.csv); None: those with the
    most subjects. ConfigError where a run has none on these targets.
    """
    first, *others = [records.run(path) for path in runs]
    by_settings: dict[str, list[tuple[str, Path]]] = {}
    for row, folder in publication.evaluations(first):
        by_settings.setdefault(row["evaluation"], []).append((row["scheme"], folder))
    if not by_settings:
        raise ConfigError(f"run {first.name} has no finished evaluation; evaluate it first")
    if evaluation is not None and evaluation not in by_settings:
        known = ", ".join(sorted(by_settings))
        raise ConfigError(f"--evaluation {evaluation}: run {first.name} has {known}")
    chosen = evaluation or max(sorted(by_settings), key=lambda key: len(by_settings[key]))
    targets = publication.targets(first, by_settings[chosen][0][1])
    found = [*_plain_first(by_settings[chosen])]
    for run in others:
        found += _plain_first(_on(targets, run, first.name))
    arms = {label: EvaluatedArm(label, [one]) for label, one in _labelled(found)}
    if not any(arm.evaluations[0].lengths(MATCHED) for arm in arms.values()):
        raise ConfigError(f"evaluation {chosen} of {first.name} has no matched losses to compare")
    return Material(arms)


def _plain_first(evaluations: Sequence[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """What nothing was added to has the shortest label, as every other one begins with it."""
    return sorted(evaluations, key=lambda each: (len(each[0]), each[0]))


def _on(targets: str | None, run: records.RunFolder, first: str) -> list[tuple[str, Path]]:
    """A run's evaluations that scored these targets, the one with most lengths of each label."""
    found: dict[str, Path] = {}
    for row, folder in publication.evaluations(run):
        if targets is None or publication.targets(run, folder) != targets:
            continue
        before = found.get(row["scheme"])
        if before is None or _n_lengths(folder) > _n_lengths(before):
            found[row["scheme"]] = folder
    if not found:
        raise ConfigError(
            f"run {run.name} was not evaluated on the targets of {first}; evaluate both on the "
            "same text with the same evaluation.lengths, documents, blocks, block and block_spacing"
        )
    return list(found.items())


def _n_lengths(folder: Path) -> int:
    return len(EvaluatedRun(folder).lengths(MATCHED))


def _labelled(found: Sequence[tuple[str, Path]]) -> Iterator[tuple[str, EvaluatedRun]]:
    """A label that several runs have says how long each was trained; then which run it is."""
    evaluated = [(label, EvaluatedRun(folder)) for label, folder in found]
    labels = [label for label, _ in evaluated]
    longer = [
        label if labels.count(label) == 1 else f"{label}, {training(one)}"
        for label, one in evaluated
    ]
    for label, (_, one) in zip(longer, evaluated, strict=True):
        name = one.folder.parent.parent.name
        yield (label if longer.count(label) == 1 else f"{label} ({name})"), one


def training(one: EvaluatedRun) -> str:
    """What training a way of reading takes: none where the model came trained."""
    config = one.config
    if "pretrained" in config:
        return "none"
    more = " more" if config.get("from") else ""
    return f"{one.steps:,} steps{more} at {one.train_length:,}"
