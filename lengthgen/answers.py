"""Does each scheme fail beyond its training length, tolerate the longer input, or use it? The rows of a publication's verdicts.csv.

The rule and the quantities are those of evaluation/context.py, over the seeds and documents of the matched protocol: F = loss at L' minus
loss at L; U = loss of the same model confined to L tokens minus loss at L', confined by a window of the text (fresh: U = -F) and, where the
band protocol was asked for, by a hard window in every layer. `uses` and `tolerates` are said against every window that was measured.

Intervals are 95 % each, and not corrected for the number of rows: exploratory. Losses in nats/token.
Shape letters: S seeds, D documents.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lengthgen import tables

MEASURED = ("failure", "use_fresh", "use_band")  # F, U against a fresh window, U against the band; each with _low and _high
# A row for each scheme and length beyond the training length. word: fails, tolerates, uses, undecided; or the status that left no value.
VERDICTS = (
    *tables.GROUP, "scheme", "eval_length", "n_seeds", "n_documents",
    *(f"{name}{end}" for name in MEASURED for end in ("", "_low", "_high")), "word",
)  # fmt: skip


def table(documents: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """VERDICTS from the rows of documents.csv and their summary. Empty where no length beyond training has the targets of it."""
    beyond = summary[(summary["protocol"] == "matched") & (summary["eval_length"] > summary["train_length"])]
    keys = [*tables.GROUP, "scheme"]
    scored = dict(list(documents.groupby(keys, sort=False)))
    rows = []
    for line, own in beyond.groupby(keys, sort=False):
        by_document = _by_document(scored[line]) if line in scored else {}
        for said in own.to_dict("records"):
            row = dict.fromkeys(VERDICTS) | {column: said[column] for column in (*keys, "eval_length")}
            if said["status"] != "ok":
                rows.append(row | {"n_seeds": 0, "n_documents": 0, "word": said["status"]})
            elif np.isfinite(said["loss_change"]):
                rows.append(row | _answer(by_document, said["train_length"], said["eval_length"]))
    found = pd.DataFrame(rows, columns=list(VERDICTS))
    return tables.sort(found.astype({f"{name}{end}": np.float64 for name in MEASURED for end in ("", "_low", "_high")}))


def write(found: pd.DataFrame, folder: Path) -> list[Path]:
    """verdicts.csv into `folder`, or none (and no old one) if there are no rows. Returns the files."""
    path = folder / "verdicts.csv"
    if found.empty:
        path.unlink(missing_ok=True)
        return []
    tables.write_table(path, found, VERDICTS)
    return [path]


Parts = Mapping[tuple[str, int], pd.DataFrame]  # (protocol, eval_length) -> loss_sum and n_tokens: a row a run, columns by document


def _answer(by_document: Parts, train_length: int, eval_length: int) -> dict[str, Any]:
    """The numbers and the word of one scheme at one length, of the seeds that have it and the training length."""
    from lengthgen.evaluation import comparisons, context  # scipy, which only this needs

    wanted = {"short": ("matched", train_length), "long": ("matched", eval_length), "band": ("band", eval_length)}
    parts = {name: by_document[key] for name, key in wanted.items() if key in by_document}
    runs = sorted(set(parts["short"].index) & set(parts["long"].index))
    if "band" in parts and not set(runs) <= set(parts["band"].index):  # of some seeds only: it would flatter the scheme
        del parts["band"]
    sums, tokens = ({name: _array(part[kind], runs) for name, part in parts.items()} for kind in ("loss_sum", "n_tokens"))
    differences = {"failure": ("long", "short"), "use_fresh": ("short", "long"), "use_band": ("band", "long")}
    found = {
        name: comparisons.estimate(comparisons.difference(sums[one], sums[other], tokens[one], tokens[other]))
        for name, (one, other) in differences.items()
        if one in parts
    }
    (word,) = context.classify(found["failure"], [estimate for name, estimate in found.items() if name != "failure"])
    numbers: dict[str, Any] = {"n_seeds": len(runs), "n_documents": int(found["failure"].n_documents[0]), "word": word}
    for name, estimate in found.items():
        numbers |= {name: estimate.value[0], f"{name}_low": estimate.low[0], f"{name}_high": estimate.high[0]}
    return numbers


def _by_document(documents: pd.DataFrame) -> Parts:
    own = documents[documents["protocol"].isin(["matched", "band"])].groupby(["protocol", "eval_length"], sort=False)
    return {key: part.pivot(index="run", columns="document", values=["loss_sum", "n_tokens"]).fillna(0.0) for key, part in own}


def _array(part: pd.DataFrame, runs: list[str]) -> np.ndarray:
    """(S, 1, D)"""
    return part.loc[runs].sort_index(axis=1).to_numpy(np.float64)[:, None]
