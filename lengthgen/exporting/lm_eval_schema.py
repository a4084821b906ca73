"""The results of lm-evaluation-harness as data: what `simple_evaluate` returns, its tracker writes.

A task is a set of targets at a length. Its metrics have the harness's names and units where they
are defined:

  bits_per_byte      loss / (bytes ln 2)
  byte_perplexity    exp(loss / bytes)
  token_perplexity   exp(loss / tokens), and loss in nats a token: lengthgen's own

No word_perplexity: what is scored begins and ends within words. docs/pages/perplexity.md says how
the windows differ from the harness's own. Intervals (95 %) stand in the task's metadata, as the
harness has a place for a standard error only.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lengthgen import __version__
from lengthgen.evaluation.protocols import EVALUATION_VERSION

FILTER = "none"  # of an answer; metrics are named `metric,filter`
AGGREGATION = {
    "bits_per_byte": "bits_per_byte",
    "byte_perplexity": "weighted_perplexity",
    "token_perplexity": "weighted_perplexity",
    "loss": "mean",
}


@dataclass(frozen=True)
class Task:
    """metrics: `measured`. metadata: what was scored and how sure it is. original, effective: the
    documents that there are, and those that were scored."""

    dataset: str
    metrics: Mapping[str, float]
    metadata: Mapping[str, Any]
    original: int
    effective: int


def task_name(dataset: str, protocol: str, length: int, *which: str) -> str:
    """A name of letters, digits and `_` alone, as the harness's are. which: what more tells it."""
    parts = ["lengthgen", dataset, protocol, str(length), *which]
    return "_".join(re.sub(r"[^A-Za-z0-9_]+", "_", part) for part in parts)


def measured(loss: float, per_byte: float | None = None) -> dict[str, float]:
    """The metrics of a loss in nats a token and, where the tokens stand for text, nats a byte."""
    found = {"loss": loss, "token_perplexity": _exp(loss)}
    if per_byte is not None:
        found["byte_perplexity"] = _exp(per_byte)
        found["bits_per_byte"] = per_byte / math.log(2)
    return found


def content(
    tasks: Mapping[str, Task], model: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The file's content. model: keys of its `config`; about: keys beside it."""
    higher = {metric: False for metric in AGGREGATION}
    name = str(about["model_name"])
    samples = {
        name: {"original": task.original, "effective": task.effective}
        for name, task in tasks.items()
    }
    return {
        "results": {name: {"alias": name, **_named(task)} for name, task in tasks.items()},
        "group_subtasks": {name: [] for name in tasks},
        "configs": {name: _config(name, task) for name, task in tasks.items()},
        "versions": dict.fromkeys(tasks, EVALUATION_VERSION),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {name: higher for name in tasks},
        "n-samples": samples,
        "config": {
            "model": "lengthgen",
            "model_args": "",
            "model_num_parameters": None,
            "model_dtype": None,
            "batch_size": None,
            "batch_sizes": [],
            "device": None,
            "use_cache": None,
            "limit": None,
            "bootstrap_iters": 0,
            "gen_kwargs": None,
            "random_seed": None,
            **model,
        },
        "git_hash": None,
        "date": None,
        "pretty_env_info": "",
        "lm_eval_version": None,  # the harness measured nothing of it
        "lengthgen_version": __version__,
        "max_length": None,
        "task_hashes": {},
        "model_source": "lengthgen",
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", name),
        **about,
    }


def _named(task: Task) -> dict[str, float | str]:
    named: dict[str, float | str] = {}
    for metric, value in task.metrics.items():
        named[f"{metric},{FILTER}"] = value
        named[f"{metric}_stderr,{FILTER}"] = "N/A"
    return named


def _config(name: str, task: Task) -> dict[str, Any]:
    return {
        "task": name,
        "dataset_path": task.dataset,
        "dataset_name": None,
        "test_split": "validation",
        "output_type": "loglikelihood_rolling",
        "num_fewshot": 0,
        "repeats": 1,
        "should_decontaminate": False,
        "metric_list": [
            {"metric": metric, "aggregation": AGGREGATION[metric], "higher_is_better": False}
            for metric in task.metrics
        ],
        "metadata": {"version": EVALUATION_VERSION, **task.metadata},
    }


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
