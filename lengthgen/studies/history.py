"""What a study's folder says about its registration, and the verdicts under earlier ones.

A study shares runs with others: some that it uses may have begun before it was registered, and
their losses may have been known. `declared before the runs` is said only where none did.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lengthgen import files
from lengthgen.evaluation import records
from lengthgen.studies import study_folder
from lengthgen.studies.registration import Registration

if TYPE_CHECKING:
    from lengthgen.studies.running import JobResult

Row = dict[str, Any]

UNKNOWN = "0001-01-01T00:00:00+00:00"


def standing(
    registered: Registration | None, results: Sequence["JobResult"], used: Iterable[Path]
) -> dict[str, Any]:
    """study.json's `registration`, and `known_before`: the arms of whose runs some are older.

    used: folders of the runs that the claims are judged from.
    """
    if registered is None:
        return {"registration": None, "known_before": []}
    about = dataclasses.asdict(registered)
    del about["declaration"]
    arms = {one.run: one.job.arm for one in results}
    early = {
        folder.name
        for folder in used
        if _began(folder) < datetime.fromisoformat(registered.registered)
    }
    known = sorted({arms.get(run, run) for run in early})
    return {"registration": about, "known_before": known, "runs_before": len(early)}


def _began(run: Path) -> datetime:
    """When it was started; one that does not say may have begun before anything."""
    return datetime.fromisoformat(records.run(run).provenance.get("started", UNKNOWN))


def sentence(about: Mapping[str, Any]) -> str:
    """Whether the claims were declared before the runs, in words."""
    if "registration" not in about:
        return "not registered (made before registrations were kept)"
    registered = about["registration"]
    if registered is None:
        return "not registered: a pilot, which tests nothing"
    said = f"registration {registered['number']} of {registered['registered']}"
    if not about["known_before"]:
        return f"declared before the runs ({said})"
    runs, arms = about["runs_before"], ", ".join(about["known_before"])
    return (
        f"{said}; {runs} of {len(about['runs'])} runs are older than it, and their losses may have "
        f"been known ({arms})"
    )


def label(about: Mapping[str, Any]) -> str:
    """The registration of a folder, as `earlier.csv` names it."""
    registered = about.get("registration")
    return str(registered["number"]) if registered else "none"


def earlier(folder: Path, about: Mapping[str, Any]) -> list[Row]:
    """EARLIER: the verdicts under other registrations, those that the folder holds now included."""
    rows: list[Row] = study_folder.read(folder / "earlier.csv")
    before = files.read_json(folder / "study.json", {})
    if before and label(before) != label(about):
        registered = before.get("registration") or {}
        key = {
            "registration": label(before),
            "registered": registered.get("registered", ""),
            "hash": registered.get("hash", ""),
        }
        claims = study_folder.read(folder / "claims.csv")
        rows = [row for row in rows if row["registration"] != label(before)]
        rows += [
            key | {column: row.get(column, "") for column in study_folder.JUDGED} for row in claims
        ]
    return [row for row in rows if row["registration"] != label(about)]
