"""A comparison of runs as one results file of lm-evaluation-harness (lm_eval_schema.py).

A task is a scheme at a length, over all seeds:
lengthgen_<dataset>_<protocol>_<length>_<scheme>, with model, training length, setting and
evaluation behind it where there are several groups.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lengthgen.errors import DataError
from lengthgen.evaluation import records
from lengthgen.exporting import lm_eval_schema
from lengthgen.exporting.lm_eval_schema import Task
from lengthgen.reporting import tables
from lengthgen.reporting.comparison import Group, Row

NATS = math.log(2)  # in a bit
INTERVALS = ("loss", "loss_change", "below_bigram")


def content(groups: Sequence[Group], results: Path) -> dict[str, Any]:
    """Of all groups. results: where their runs are, if they are there. DataError without a loss."""
    tasks: dict[str, Task] = {}
    for group in groups:
        in_bytes = _in_bytes(group, results)
        for row in group.rows:
            if row["status"] == "ok" and pd.notna(row["loss"]):
                tasks[_name(group, row, len(groups) > 1, tasks)] = _task(group, row, in_bytes)
    if not tasks:
        raise DataError("none of the chosen evaluations has a loss; see `lengthgen list runs`")
    dtypes = sorted({row["dtype"] for group in groups for row in group.rows} - {""})
    longest = max(int(row["eval_length"]) for group in groups for row in group.rows)
    about = {"model_name": "lengthgen compare", "max_length": longest}
    return lm_eval_schema.content(tasks, {"model_dtype": "+".join(dtypes) or None}, about)


def _name(group: Group, row: Row, several: bool, taken: dict[str, Task]) -> str:
    shared = group.shared
    keys = (shared["model"], f"L{group.train_length}", shared["setting"], shared["evaluation"])
    which = (row["scheme"], *(keys if several else ()))
    length = int(row["eval_length"])
    name = lm_eval_schema.task_name(shared["dataset"], shared["protocol"], length, *which)
    number = 2
    free = name
    while free in taken:  # labels that differ in signs alone
        free, number = f"{name}_{number}", number + 1
    return free


def _task(group: Group, row: Row, in_bytes: bool) -> Task:
    per_byte = float(row["bits_per_byte"]) * NATS if in_bytes else None
    keys = ("scheme", "eval_length", "n_tokens", "n_seeds", "word")
    metadata = {
        **{key: row[key] for key in keys},
        **group.shared,
        "runs": list(group.runs.get(row["scheme"], ())),
        "interval_95": {
            name: [float(row[low]), float(row[high])]
            for name in INTERVALS
            for value, low, high in [tables.ends(name)]
            if pd.notna(row[value]) and pd.notna(row[low])
        },
        "loss_change": None if pd.isna(row["loss_change"]) else float(row["loss_change"]),
    }
    metrics = lm_eval_schema.measured(float(row["loss"]), per_byte)
    documents = int(row["n_documents"])
    return Task(group.shared["dataset"], metrics, metadata, documents, documents)


def _in_bytes(group: Group, results: Path) -> bool:
    """Do its tokens stand for text? Symbols of a synthetic source have no bytes."""
    for names in group.runs.values():
        for name in names:
            data = records.run(results / "runs" / name).provenance.get("data", {})
            if "tokenizer" in data:
                return not str(data["tokenizer"]).startswith("symbols")
    # Of a published folder: what has an exact floor or answers is made of symbols.
    made = ("excess", "exact_match")
    return not any(pd.notna(row[name]) for row in group.rows for name in made)
