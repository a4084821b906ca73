"""Runs that are finished in a published folder, results/NAME/, with no run folder on this machine.

`--skip-published` counts them as done. A row counts only in a folder whose seal is whole, and a run
only with every row that this command would make: nothing that is missing is hidden.
"""

import csv
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lengthgen import files
from lengthgen.cli import sweep
from lengthgen.evaluation import records, seals

if TYPE_CHECKING:
    from lengthgen.runs.prepare import Run
    from lengthgen.runs.run import Outcome

log = logging.getLogger(__name__)
TABLES = tuple(f"{name}.csv" for name in records.TABLES)
FINAL = ("ok", "refused")  # of a row's status: the others are tried again


def outcome(run: "Run") -> "Outcome | None":
    """What takes the place of a run's work, if a published folder has all that it would give."""
    from lengthgen.runs.run import Outcome

    settings = run.config.settings
    # Weights and diagnostics are not published.
    if run.folder.ended or settings.keep_at_steps or run.config.diagnostics:
        return None
    identity = {key: str(value) for key, value in run.identity().items()}
    wanted = {identity.pop("steps"), *map(str, settings.evaluate_at_steps)}
    for folder in _sealed(Path(settings.results)):
        rows = [row for row in rows_of(folder / "lengths.csv") if identity.items() <= row.items()]
        final = all(row["status"] in FINAL for row in rows)
        if rows and final and wanted <= {row["steps"] for row in rows}:
            log.info("run %s: published in %s, not made again here", run.id, folder)
            evaluation = run.folder.evaluation(run.evaluation_id)
            return Outcome(run.id, folder, sweep.PUBLISHED, evaluation)
    return None


def rows_of(table: Path) -> Iterator[dict[str, str]]:
    """The rows of a lengths.csv. Raises DiskError."""
    with files.reading(table), table.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def loss_at_train_length(table: Path, run: str) -> float | None:
    """The matched loss of a run at the length that it was trained at, in nats per token.

    No row of another length is read: by this number a sweep may choose. None without such a row.
    """
    found = [
        (int(row["steps"]), float(row["value"]))
        for row in rows_of(table)
        if row["run"] == run
        and (row["protocol"], row["metric"]) == ("matched", "loss")
        and row["eval_length"] == row["train_length"]
        and row.get("status", "ok") == "ok"
    ]
    return max(found)[1] if found else None


def _sealed(results: Path) -> Iterator[Path]:
    """The published folders that hold what was published, as it was."""
    for folder in sorted(results.glob("[!.]*")):
        if seals.is_sealed(folder) and not seals.faults(folder, folder.name, TABLES):
            yield folder
