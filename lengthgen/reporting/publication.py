"""Where a publication's numbers come from, and what of that is not known.

The hash of the matched targets: of (document, first target, past the last target) of every window,
with the data's fingerprint and tokenizer. Evaluations with the same hash scored the same tokens.
"""

import csv
import hashlib
import json
import shlex
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lengthgen import files
from lengthgen.evaluation import records, stored

SAME = ("setting", "evaluation")  # rows that agree in these scored the same tokens
TARGETS = ("matched", "whole")  # protocols whose targets are hashed: the first that there is
DISTINCT = {
    "commands": "command", "commits": "commit", "devices": "device",
    "threads": "threads", "versions": "versions",
}  # fmt: skip


def provenance(
    runs: Iterable[records.RunFolder], lengths: pd.DataFrame | None = None
) -> dict[str, Any]:
    """Every distinct command, commit, device, thread count and version, and a line for each run.

    lengths: the published rows of lengths.csv: their runs alone, and their evaluations as well.
    """
    distinct: dict[str, list] = {plural: [] for plural in DISTINCT}
    listed, runs = [], sorted(runs, key=lambda run: run.name)
    schemes: dict[Hashable, str] = {}
    if lengths is not None:
        labels = lengths.groupby("run")["scheme"]
        schemes = labels.agg(lambda of_run: min(of_run, key=len)).to_dict()
        runs = [run for run in runs if run.name in schemes]
    for run in runs:
        origin = run.provenance
        origin["command"] = _command(origin.get("command"))
        for plural, name in DISTINCT.items():
            if origin.get(name) not in (None, "", *distinct[plural]):
                distinct[plural].append(origin[name])
        about = {
            "scheme": schemes.get(run.name),
            "parameters": origin.get("parameters"),
            "learning_rate": _learning_rate(run),
            "last_doubling": run.last_doubling,
            "mixed": run.mixed or None,
        }
        listed.append(
            {"run": run.name, "seed": run.config.get("seed"), "command": origin["command"]}
            | {name: value for name, value in about.items() if value is not None}
        )
    note: dict[str, Any] = {plural: sorted(values, key=str) for plural, values in distinct.items()}
    seeds = {run["seed"] for run in listed if run["seed"] is not None}
    note |= {"seeds": sorted(seeds, key=str), "runs": listed}
    return note if lengths is None else note | {"evaluations": _evaluations(runs, lengths)}


def evaluations(run: records.RunFolder) -> Iterator[tuple[dict[str, str], Path]]:
    """(first row of lengths.csv, folder) of each finished evaluation of a run."""
    for folder in run.evaluations:
        path = folder / "lengths.csv"
        with files.reading(path), path.open(newline="", encoding="utf-8") as file:
            first = next(csv.DictReader(file), None)
        if first:
            yield first, folder


def targets(run: records.RunFolder, folder: Path) -> str | None:
    """The hash of an evaluation's TARGETS; None without any, or without the data's fingerprint."""
    data = run.provenance.get("data") or {}
    if "fingerprint" not in data or not (folder / "losses.npz").is_file():
        return None
    by_protocol = ((name, stored.lengths(folder, name)) for name in TARGETS)
    protocol, lengths = next((both for both in by_protocol if both[1]), ("", []))
    # Whole documents differ by length; matched targets are the same at every length.
    hashed = lengths if protocol == "whole" else lengths[-1:]
    scored = [target for length in hashed for target in stored.targets(folder, protocol, length)]
    if not scored:
        return None
    text = json.dumps([data["fingerprint"], str(data.get("tokenizer")), scored])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def targets_of(note: Mapping[str, Any], setting: str, evaluation: str) -> str | None:
    """The targets' hash of this setting and evaluation in a publication's provenance."""
    for about in note.get("evaluations", []):
        if (about["setting"], about["evaluation"]) == (setting, evaluation):
            return about["targets"][0] if len(about["targets"]) == 1 else None
    return None


def missing(note: Mapping[str, Any], rows: pd.DataFrame) -> list[str]:
    """What a publication lacks of one group (rows of its summary) for its figure to be believed."""
    first = rows.iloc[0]
    scored = rows[rows["status"] == "ok"]
    inside = scored[(scored["eval_length"] == scored["train_length"]) & scored["loss"].notna()]
    without = sorted(set(rows["scheme"]) - set(inside["scheme"]))
    listed = note.get("runs", [])
    about = [
        each
        for each in note.get("evaluations", [])
        if all(each[name] == first[name] for name in SAME)
    ]
    hashed = targets_of(note, first["setting"], first["evaluation"]) is not None
    known = {
        "seeds": bool(note.get("seeds")) and (scored["n_seeds"] > 0).all(),
        "document counts": (scored["n_documents"] > 0).all(),
        f"the loss at the training length (of {', '.join(without)})": not without,
        "the hash of the matched targets": hashed,
        "the precision": bool(rows["dtype"].str.len().all()),
        "the commit of the training": _clean(note.get("commits", [])),
        "the commit of the evaluation": bool(about) and _clean(about[0]["commits"]),
        "parameter counts": bool(listed) and all("parameters" in run for run in listed),
        "the learning rate": (rows["steps"] == 0).all()
        or (bool(listed) and all("learning_rate" in run for run in listed)),
    }
    return [name for name, there in known.items() if not there]


def _clean(commits: list[str]) -> bool:
    """A commit that names the code: known, and no file differed from it."""
    return bool(commits) and not any(
        commit == "unknown" or commit.endswith("-dirty") for commit in commits
    )


def _evaluations(runs: Iterable[records.RunFolder], lengths: pd.DataFrame) -> list[dict[str, Any]]:
    """Commits, commands and hashes of targets of every setting and evaluation published."""
    keys = ["run", "scheme", *SAME]
    published = set(lengths[keys].itertuples(index=False, name=None))
    of_key: dict[tuple[str, ...], dict[str, set]] = {}
    for run in runs:
        for identity, folder in evaluations(run):
            if tuple(identity[name] for name in keys) not in published:
                continue
            origin = files.read_json(folder / "settings.json", {}).get("origin", {})
            about = of_key.setdefault(
                tuple(identity[name] for name in SAME),
                {"commits": set(), "commands": set(), "targets": set()},
            )
            about["commits"].add(origin.get("commit"))
            about["commands"].add(_command(origin.get("command")))
            about["targets"].add(targets(run, folder))
    return [
        dict(zip(SAME, key, strict=True))
        | {name: sorted(values - {None, ""}) for name, values in about.items()}
        for key, about in sorted(of_key.items())
    ]


def _learning_rate(run: records.RunFolder) -> float | None:
    options = run.config.get("optim")
    return options.get("lr") if isinstance(options, Mapping) else None


def _command(command: Any) -> str:
    """One line, without the program's folder: published files name no path of a machine."""
    is_list = isinstance(command, list | tuple)
    words = [str(word) for word in command] if is_list else str(command or "").split(" ")
    words[:1] = [Path(word).name for word in words[:1]]
    return shlex.join(words) if is_list else " ".join(words)
