"""Runs side by side, scheme x length: the rows of `lengthgen compare`, with several seeds in one.

The numbers are those of a publication: losses and changes of summary.csv (over_seeds.py), words of
verdicts.csv (verdicts.py). Only rows that agree in tables.GROUP are compared; what does not agree
is another group. A group has one protocol: matched, or the first that was evaluated where there are
no matched targets (whole documents, such as questions with answers).

Losses in nats/token.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lengthgen import files
from lengthgen.reporting import tables, verdicts
from lengthgen.reporting.published_folder import Published

MATCHED = "matched"
WITHOUT = "none"  # statistics/words.py, which loads scipy
GROUNDS = (MATCHED, "hard_window", "shuffled")  # protocols that a word rests on
NUMBERS = ("loss", "loss_change", "excess", "exact_match", "below_bigram")  # each with an interval
# A row for each scheme and length of a group. word: empty at the training length and below it.
# reason: why there is no value or no word; a row has them one by one as `reasons`, too.
COLUMNS = (
    *tables.LINE, "eval_length", "n_seeds", "n_documents", "n_tokens",
    *(end for name in NUMBERS for end in tables.ends(name)), "bits_per_byte", "bigram",
    "word", "status", "reason", "dtype",
)  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Rows of COLUMNS that may be compared, schemes in the palette's order, lengths rising.

    shared: tables.GROUP and the protocol. runs: scheme -> ids of its runs. gate: whether the corpus
    gate was tried (references.py).
    """

    shared: Mapping[str, Any]
    rows: Sequence[Row]
    runs: Mapping[str, Sequence[str]]
    gate: bool = False

    @property
    def train_length(self) -> int:
        return int(self.shared["train_length"])

    @property
    def schemes(self) -> list[str]:
        return list(dict.fromkeys(row["scheme"] for row in self.rows))

    @property
    def lengths(self) -> list[int]:
        return sorted({int(row["eval_length"]) for row in self.rows})

    @property
    def measure(self) -> str:
        """What is compared beyond the training length: one of NUMBERS."""
        for name in ("loss_change", "exact_match"):
            if any(pd.notna(row[name]) for row in self.rows):
                return name
        return "loss"

    def at(self, length: int) -> dict[str, Row]:
        """Scheme -> its row at that length."""
        return {row["scheme"]: row for row in self.rows if row["eval_length"] == length}

    @property
    def bigram(self) -> float | None:
        """The loss of a bigram table of the training text at the training length, if measured."""
        known = [row["bigram"] for row in self.at(self.train_length).values()]
        return next((float(value) for value in known if pd.notna(value)), None)


def groups(published: Published, beside: pd.DataFrame | None = None) -> list[Group]:
    """The groups of a folder, or of what was chosen (`of_runs`).

    beside: rows of documents.csv that are not shown; a word may rest on those of `none`.
    """
    measured = published.tables
    return [
        _group(published, dict(zip(tables.GROUP, key, strict=True)), lengths, beside)
        for key, lengths in measured.lengths.groupby(list(tables.GROUP), sort=True)
    ]


def _group(
    published: Published, shared: Row, lengths: pd.DataFrame, beside: pd.DataFrame | None
) -> Group:
    documents = published.tables.documents
    documents = documents[tables.matching(documents, tables.GROUP, shared)]
    protocols = list(lengths["protocol"].unique())
    protocol = MATCHED if MATCHED in protocols else protocols[0]
    # Of the protocols that are shown or that a word rests on: others would take as long again.
    summary = tables.summarise(
        documents[documents["protocol"] == protocol], lengths[lengths["protocol"] == protocol]
    )
    grounds = documents
    if beside is not None and WITHOUT not in set(documents["scheme"]):
        without = tables.matching(beside, (*tables.GROUP, "scheme"), shared | {"scheme": WITHOUT})
        grounds = pd.concat([documents, beside[without]])
    grounds = grounds[grounds["protocol"].isin(GROUNDS)]
    note, references = published.note, published.references
    words = verdicts.table(grounds, summary, note, references, utilisation=False)
    of_scheme = lengths.groupby("scheme")["run"].unique()
    return Group(
        shared | {"protocol": protocol},
        _with_words(summary, words),
        {str(scheme): sorted(runs) for scheme, runs in of_scheme.items()},
        verdicts.tried(words),
    )


def of_runs(chosen: tables.Tables) -> Published:
    """The tables of runs as if they were published, without references."""
    return Published(chosen, {}, None)


def as_json(found: Sequence[Group]) -> dict[str, Any]:
    """Groups, each with its schemes and their lengths. A number that is not known is null."""
    return {
        "unit": "nats/token",
        "interval": "95 %",
        "groups": [
            {
                **group.shared,
                "bigram": group.bigram,
                "schemes": [_scheme(group, scheme) for scheme in group.schemes],
            }
            for group in found
        ],
    }


def as_csv(found: Sequence[Group]) -> str:
    """COLUMNS of every row, without those that are empty throughout."""
    rows = pd.DataFrame([row for group in found for row in group.rows], columns=list(COLUMNS))
    kept = [name for name in COLUMNS if rows[name].replace("", None).notna().any()]
    text = io.StringIO()
    rows[kept].to_csv(text, index=False, lineterminator="\n", float_format=files.FLOAT_FORMAT)
    return text.getvalue()


def _with_words(rows: pd.DataFrame, words: pd.DataFrame) -> list[Row]:
    said = {(row["scheme"], row["eval_length"]): row for row in tables.as_rows(words)}
    found = []
    for row in tables.as_rows(rows):
        verdict = said.get((row["scheme"], row["eval_length"]), {})
        both = (row["reason"], verdict.get("reason"))
        reasons = list(dict.fromkeys(reason for reason in both if reason))
        chosen = {name: row.get(name) for name in COLUMNS} | {"reasons": reasons}
        found.append(chosen | {"word": verdict.get("word") or "", "reason": "; ".join(reasons)})
    return found


def _scheme(group: Group, scheme: str) -> Row:
    rows = [row for row in group.rows if row["scheme"] == scheme]
    text = ("word", "status", "reason", "dtype")
    counts = ("eval_length", "n_seeds", "n_documents", "n_tokens")
    return {
        "scheme": scheme,
        "runs": list(group.runs.get(scheme, ())),
        "lengths": [
            {name: int(row[name]) for name in counts}
            | {name: _interval(row, name) for name in NUMBERS}
            | {"bits_per_byte": _number(row["bits_per_byte"])}
            | {name: row[name] for name in text}
            for row in rows
        ],
    }


def _interval(row: Row, name: str) -> Row | None:
    value, low, high = (_number(row[end]) for end in tables.ends(name))
    return None if value is None else {"value": value, "low": low, "high": high}


def _number(value: Any) -> float | None:
    """As JSON has it: no NaN, and infinity as text would have it is none either."""
    return None if pd.isna(value) or abs(value) == float("inf") else float(value)
