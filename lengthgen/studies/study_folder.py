"""The files of a study: their columns, and how they are written and read. No torch, no scipy.

results/studies/NAME/
  values.csv      subject x protocol x length: the loss, and the measure that the study shows
  repairs.csv     arm x condition x length: the share of the arm's change that the condition undoes
  context.csv     on Dirichlet documents, how many symbols a subject used
  costs.csv       time and memory of every subject, where the study asks for them
  frontier.csv    at every length, what each keeps and which subjects beat it (frontier.py)
  key_tokens.csv  the loss on tokens that long context decides, or why there is none
  bias.csv        the form of every head's bias, where a figure shows it, and its values in
                  bias_curves.csv
  differences.csv the loss of every arm minus that of a baseline, by the size of the corpus
  exposure.csv    how often training reached each table of positions or offsets
  training.csv    how the training of every arm and seed ended
  words.csv       the word for every subject at every length beyond its training
  information.csv the mutual information of real texts by distance
  claims.csv      a row for each claim, with its verdict; at each arm's own best of a grid, and
                  at the common learning rates
  rates.csv       the loss at the training length at every point of a grid
  earlier.csv     the verdicts under earlier registrations
  study.json      the declaration, scale, commands, commits, devices
  manifest.json   the sums of all files (seals.py)
  summary.md, values.svg, values.png: all of it as a page and a figure (report.py)

Nats per token unless stated; 95 % intervals over seeds and documents.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation import seals

VALUES = (
    "subject", "scheme", "dataset", "train_length", "tokens", "corpus", "protocol", "eval_length",
    "measure", "value", "low", "high", "n_seeds", "n_documents", "status", "rates", "point",
)  # fmt: skip
REPAIRS = (
    "arm", "condition", "eval_length", "change", "recovered", "low", "high", "n_seeds",
    "n_documents",
)  # fmt: skip
DECLARED = (
    "claim", "primary", "measure", "subject", "baseline", "length_factor", "protocol",
    "predict", "check", "gate",
)  # fmt: skip
NUMBERS = ("value", "low", "high", "p", "detectable", "n_seeds", "n_documents")
# Only where there is a grid: the word at each arm's own best, and what was found at the common one.
AT_RATES = ("own_verdict", "common_verdict", "common_value", "common_low", "common_high")
CLAIMS = ("study", "name", *DECLARED, *NUMBERS, "verdict", "reason", *AT_RATES)
JUDGED = ("name", "claim", "primary", "predict", "value", "low", "high", "verdict", "reason")
EARLIER = ("registration", "registered", "hash", *JUDGED)
RATES = ("arm", "point", "loss", "low", "high", "n_seeds", "common", "best", "edge", "status")
CONTEXT = ("subject", "eval_length", "tokens", "low", "high")
COSTS = (
    "subject", "eval_length", "milliseconds", "of_trained", "low", "high", "of_first",
    "of_first_low", "of_first_high", "mib", "mib_of_trained", "rounds",
)  # fmt: skip
FRONTIER = ("subject", "eval_length", "loss", "low", "high", "keys", "kept_mib", "beaten_by")
OF_HEAD = ("subject", "scheme", "dataset", "seed", "layers", "head")
BIAS = (*OF_HEAD, "spread", "linear", "log", "periodic", "decreasing", "period", "form")
BIAS_CURVES = (*OF_HEAD, "form", "offset", "bias")
DIFFERENCES = (
    "subject", "baseline", "scheme", "dataset", "train_length", "corpus", "eval_length", "value",
    "low", "high", "n_seeds", "n_documents",
)  # fmt: skip
EXPOSURE = (
    "subject", "parameter", "by", "entries", "unread_entries", "most", "most_first", "most_last",
    "fewest", "fewest_first", "fewest_last", "beyond_first", "beyond_last",
)  # fmt: skip
TRAINING = ("arm", "seed", "steps", "tokens", "settled", "last_doubling")
WORDS = (
    "subject", "scheme", "dataset", "train_length", "tokens", "corpus", "eval_length", "word",
    "change", "low", "high",
)  # fmt: skip
INFORMATION = ("dataset", "lag", "nats")
KEY_TOKENS = (
    "subject", "seed", "eval_length", "n_key_tokens", "n_tokens", "n_documents", "loss", "low",
    "high", "status", "reason",
)  # fmt: skip
TABLES = {
    "values": VALUES,
    "repairs": REPAIRS,
    "claims": CLAIMS,
    "context": CONTEXT,
    "costs": COSTS,
    "frontier": FRONTIER,
    "differences": DIFFERENCES,
    "exposure": EXPOSURE,
    "training": TRAINING,
    "words": WORDS,
    "information": INFORMATION,
    "key_tokens": KEY_TOKENS,
    "bias": BIAS,
    "bias_curves": BIAS_CURVES,
    "rates": RATES,
    "earlier": EARLIER,
}
# Text columns are listed because names in them may look like numbers.
TEXT = {
    "arm", "baseline", "beaten_by", "by", "claim", "common_verdict", "condition", "dataset", "form",
    "gate", "hash", "layers", "measure", "name", "own_verdict", "parameter", "point", "predict",
    "protocol", "rates", "reason", "registered", "registration", "scheme", "status", "study",
    "subject", "verdict", "word",
}  # fmt: skip
TRUTHS = {"best", "check", "common", "edge", "primary", "settled"}
Row = Mapping[str, Any]


def write(folder: Path, tables: Mapping[str, list[dict[str, Any]]], about: Row) -> None:
    """The tables that have rows, and study.json, into `folder`. A table without rows is removed."""
    for name, columns in TABLES.items():
        if tables.get(name):
            files.write_table(folder / f"{name}.csv", whole(tables[name], columns), columns)
        else:
            files.remove(folder / f"{name}.csv")
    files.write_json(folder / "study.json", about)
    seals.seal(folder, folder.name)


def check(folder: Path) -> None:
    """DataError if a table or study.json is not what `write` wrote (seals.py)."""
    sources = ("study.json", *(f"{name}.csv" for name in TABLES))
    if wrong := seals.faults(folder, folder.name, sources):
        raise DataError(
            f"study {folder.name}: {'; '.join(wrong)}; rerun `lengthgen study`, or put the file "
            "back"
        )


def whole(rows: Sequence[Row], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows with every column: empty where a row, or an older table, lacks it."""
    return [{**dict.fromkeys(columns, ""), **row} for row in rows]


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of one table, numbers as numbers (empty: NaN); [] if there is no file."""
    if not path.is_file():
        return []
    with files.reading(path), path.open(encoding="utf-8", newline="") as file:
        return [
            {column: _parsed(column, text) for column, text in row.items()}
            for row in csv.DictReader(file)
        ]


def at_own_best(values: Sequence[Row]) -> list[Row]:
    """Rows of values.csv without those at the common rates of a grid, of which some repeat them."""
    return [row for row in values if row.get("rates") != "common"]


def _parsed(column: str, text: str) -> Any:
    if column in TEXT:
        return text
    if column in TRUTHS:
        return text == "True"
    return int(text) if text.isdecimal() else float(text or "nan")
