"""The files of a study: their columns, and how they are written and read. Knows no torch and no scipy.

results/studies/NAME/
  values.csv      subject x protocol x length: the loss, and the measure that the study shows
  repairs.csv     arm x condition x length: the share of the arm's change that the condition takes away
  context.csv     on Dirichlet documents, the symbols that a subject used; costs.csv: its time and memory, where the study asks for them
  key_tokens.csv  the loss on tokens that long context decides, where the study asks for it; a refusal says why
  information.csv the mutual information of real texts by distance, where the study asks for it
  claims.csv      a row for each claim, with its verdict        study.json   the declaration, scale, commands, commits, devices
  summary.md, values.svg and .png: all of it in words and as a figure (report.py)

Nats a token unless said; 95 % intervals over seeds and documents.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lengthgen import files

COSTS = (
    "subject",
    "eval_length",
    "milliseconds",
    "of_trained",
    "low",
    "high",
    "mib",
    "mib_of_trained",
    "rounds",
)
VALUES = (
    "subject", "scheme", "dataset", "train_length", "tokens", "protocol", "eval_length", "measure", "value", "low", "high", "n_seeds",
    "n_documents", "status",
)  # fmt: skip
REPAIRS = (
    "arm",
    "condition",
    "eval_length",
    "change",
    "recovered",
    "low",
    "high",
    "n_seeds",
    "n_documents",
)
CLAIMS = (
    "study", "name", "claim", "primary", "measure", "subject", "baseline", "length_factor", "predict", "value", "low", "high", "p", "detectable", "n_seeds",
    "n_documents", "verdict",
)  # fmt: skip
INFORMATION = ("dataset", "lag", "nats")
KEY_TOKENS = (
    "subject",
    "seed",
    "eval_length",
    "n_key_tokens",
    "n_tokens",
    "n_documents",
    "loss",
    "low",
    "high",
    "status",
    "reason",
)
CONTEXT = ("subject", "eval_length", "tokens", "low", "high")
TABLES = {
    "values": VALUES,
    "repairs": REPAIRS,
    "claims": CLAIMS,
    "context": CONTEXT,
    "costs": COSTS,
    "information": INFORMATION,
    "key_tokens": KEY_TOKENS,
}


def write(
    folder: Path, parts: Mapping[str, list[dict[str, Any]]], about: Mapping[str, Any]
) -> None:
    """The tables that have rows, and study.json, into `folder`."""
    for name, columns in TABLES.items():
        if parts.get(name):
            files.write_table(folder / f"{name}.csv", parts[name], columns)
        else:
            (folder / f"{name}.csv").unlink(missing_ok=True)
    files.write_json(folder / "study.json", about)


def read(path: Path) -> list[dict[str, str]]:
    """The rows of one of these tables as text; [] if there is none."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
