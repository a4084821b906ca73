"""What a dashboard is told of a run beside its metrics: names, facts, figures, files to keep."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lengthgen import files, tracking
from lengthgen.runs import identity
from lengthgen.runs.prepare import Run
from lengthgen.runs.windows import unigram_loss
from lengthgen.training import checkpoint


@contextlib.contextmanager
def tracked(run: Run) -> Iterator[tracking.Tracker]:
    """A tracker that knows the run, closed as failed where the block raises."""
    settings, retrofit = run.config.settings, run.config.retrofit
    choices = [run.config.scheme, *run.config.modifiers, *([retrofit] if retrofit else [])]
    model, setting = run.config.model_name, identity.setting_id(run.science)
    description = tracking.RunDescription(
        id=f"{run.id}-{retrofit.name}-{run.evaluation_id}" if retrofit else run.id,
        name=f"{run.config.label}-{run.splits.label}-s{settings.seed}",
        # Runs that differ in their seed alone, so that a mean over a group is one over seeds.
        group=f"{run.config.label}-{run.splits.label}-{model}-L{settings.train_length}-{setting}",
        job_type="evaluate" if run.folder.ended else "train",
        tags=(*(choice.name for choice in choices), run.splits.label, model),
        config=run.tracked | {"setting": setting},
        folder=run.folder.path,
    )
    with tracking.start(run.config.tracking, description) as tracker:
        if tracker.listens:
            tracker.summary(_facts(run))
        yield tracker


def _facts(run: Run) -> dict[str, Any]:
    """Of the training, as provenance.json has them; and the loss of token frequencies (nats)."""
    there = files.read_json(run.folder.provenance, {})
    data, counts = there.get("data", {}), there.get("parameters", {})
    facts = {
        "run": run.id,
        "commit": there.get("commit"),
        "lengthgen": there.get("lengthgen"),
        "device": there.get("device"),
        "precision": there.get("precision"),
        "data/fingerprint": data.get("fingerprint"),
        "data/train_tokens": data.get("train_tokens"),
        "data/validation_tokens": data.get("validation_tokens"),
        "parameters/total": counts.get("total"),
        "parameters/positional": counts.get("positional"),
        "floors/unigram": unigram_loss(run),
    }
    return {name: value for name, value in facts.items() if value is not None}


def show(tracker: tracking.Tracker, drawn: Iterable[Path], settings: str) -> None:
    """The figures of the run's evaluations with these settings (a hash, as in their names)."""
    images = [path for path in drawn if path.suffix == ".png"]
    tracker.figures({path.stem.removeprefix(f"{settings}-"): path for path in images})


def keep_weights(run: Run, tracker: tracking.Tracker) -> None:
    """The checkpoint of the last step."""
    folder = checkpoint.newest(run.folder.checkpoints)
    if folder is not None:
        content = {path.name: path for path in sorted(folder.iterdir())}
        tracker.artifact(tracking.Artifact(_weights(run), "weights", content, {"run": run.id}))


def keep_tables(run: Run, tracker: tracking.Tracker) -> None:
    """The folder of the run's evaluation."""
    folder = run.folder.evaluation(run.evaluation_id)
    content = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    about = {"run": run.id, "evaluation": run.evaluation_id}
    name = f"evaluation-{run.id}-{run.evaluation_id}"
    tracker.artifact(tracking.Artifact(name, "evaluation", content, about, (_weights(run),)))


def _weights(run: Run) -> str:
    return f"weights-{run.id}"
