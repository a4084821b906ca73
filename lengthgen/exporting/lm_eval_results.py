"""A run's losses as a results file of lm-evaluation-harness, for tools that read such files.

A task is a protocol at a length: lengthgen_<dataset>_<protocol>_<length>; lm_eval_schema.py says
what its metrics are. Intervals are over documents.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lengthgen import __version__, files, retrofits
from lengthgen.config import dataclass_from, yaml_files
from lengthgen.errors import CheckpointError, ConfigError, DataError
from lengthgen.evaluation.protocols import EvaluationConfig
from lengthgen.exporting import evaluated, lm_eval_schema
from lengthgen.exporting.evaluated import Evaluation
from lengthgen.exporting.lm_eval_schema import Task, task_name
from lengthgen.runs import train_config
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.identity import evaluation_id

Row = Mapping[str, str]


def write(
    run: RunFolder,
    path: Path,
    asked: str | None = None,
    overwrite: bool = False,
    retrofit: Mapping[str, Any] | None = None,
) -> list[str]:
    """The file. Returns what a user should know of it, a line each. ConfigError if it is there."""
    if path.suffix != ".json":
        raise ConfigError(f"--to lm-eval {path}: expected the name of a .json file")
    if path.is_symlink() or path.is_dir() or (path.exists() and not overwrite):
        raise ConfigError(f"{path} exists; give another name, or --overwrite to replace the file")
    if not run.ended:
        raise CheckpointError(
            f"run {run.path.name} is not finished; run its training command again first"
        )
    config = train_config.plain(yaml_files.load(run.config))
    of = train_config.choose(retrofits, "retrofit", retrofit, ()) if retrofit else None
    evaluation = evaluated.choose(run.path, _own(config), asked, of.as_dict() if of else None)
    if evaluation is None:
        raise ConfigError(
            f"no evaluation of {run.path.name} with {of.label if of else 'no retrofit'}; "
            f"`lengthgen evaluate run={run.path.name} +retrofit=...` makes one"
        )
    content = results(run, config, evaluation)
    files.write_json(path, content)
    return [f"{run.path.name} -> {path}: {len(content['results'])} tasks of evaluation "
            f"{evaluation.id}"]  # fmt: skip


def _own(config: Mapping[str, Any]) -> str:
    """The id of the evaluation that the run's own command makes."""
    options = {key: value for key, value in config["evaluation"].items() if key != "name"}
    settings = dataclass_from.build(EvaluationConfig, options, "evaluation")
    return evaluation_id(settings, config["train_length"])


def results(run: RunFolder, config: Mapping[str, Any], evaluation: Evaluation) -> dict[str, Any]:
    """What the harness's `simple_evaluate` returns and its tracker writes."""
    provenance = files.read_json(run.provenance, {})
    dataset = str(provenance.get("data", {}).get("label", config["dataset"].get("name")))
    # Symbols of a synthetic source have no bytes.
    in_bytes = not str(provenance.get("data", {}).get("tokenizer", "")).startswith("symbols")
    tasks = {
        task_name(dataset, protocol, length): task
        for protocol in evaluation.protocols
        for length, row in evaluation.values(protocol, "loss").items()
        if row["status"] == "ok"
        and (task := _task(dataset, evaluation, protocol, length, in_bytes))
    }
    if not tasks:
        raise DataError(f"evaluation {evaluation.id} of {run.path.name} has no loss to export")
    origin = evaluation.settings.get("origin", {})
    arguments = f"run={run.path.name}"
    if retrofit := (origin.get("retrofit") or {}).get("name"):
        arguments += f",retrofit={retrofit}"
    model = {
        "model_args": arguments,
        "model_num_parameters": provenance.get("parameters", {}).get("total"),
        "model_dtype": evaluation.settings.get("dtype"),
        "device": origin.get("device"),
        "random_seed": config.get("seed"),
    }
    about = {
        "git_hash": origin.get("commit") or provenance.get("commit"),
        "date": _seconds(origin.get("started")),
        "pretty_env_info": ", ".join(
            f"{name} {version}" for name, version in sorted(origin.get("versions", {}).items())
        ),
        "lengthgen_version": origin.get("lengthgen", __version__),
        "max_length": max(evaluation.values(evaluation.protocols[0], "loss"), default=None),
        "model_name": run.path.name,
        "weights_sha256": run.ended.get("weights_sha256"),
    }
    return lm_eval_schema.content(tasks, model, about)


def _task(
    dataset: str, evaluation: Evaluation, protocol: str, length: int, in_bytes: bool
) -> Task | None:
    """None where no document is stored."""
    rows = [
        row
        for row in evaluation.documents
        if row["protocol"] == protocol and int(row["eval_length"]) == length
    ]
    measured = metrics(rows, in_bytes)
    if not measured:
        return None
    intervals = {}
    for metric in ("loss", "bits_per_byte"):
        row = evaluation.values(protocol, metric).get(length, {})
        if row.get("low") and row.get("high"):
            intervals[metric] = [float(row["low"]), float(row["high"])]
    metadata = {
        "protocol": protocol,
        "eval_length": length,
        "train_length": evaluation.train_length,
        "n_tokens": sum(int(row["n_tokens"]) for row in rows),
        "interval_95": intervals,
        "word": evaluation.words.get(length) if protocol == "matched" else None,
    }
    available = sum(evaluation.settings.get("validation_documents", {}).values())
    return Task(dataset, measured, metadata, max(available, len(rows)), len(rows))


def metrics(rows: Sequence[Row], in_bytes: bool) -> dict[str, float]:
    """From the loss sums of documents. in_bytes: tokens stand for text; else only those of tokens.

    Empty without a scored token.
    """
    loss, tokens, n_bytes = (
        math.fsum(float(row[column] or 0) for row in rows)
        for column in ("loss_sum", "n_tokens", "n_bytes")
    )
    if not tokens:
        return {}
    per_byte = loss / n_bytes if in_bytes and n_bytes else None
    return lm_eval_schema.measured(loss / tokens, per_byte)


def _seconds(started: str | None) -> float | None:
    """Since 1970, as the harness's `date`."""
    try:
        return datetime.fromisoformat(started or "").timestamp()
    except ValueError:
        return None
