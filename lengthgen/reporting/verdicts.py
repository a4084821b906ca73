"""Does each scheme fail, tolerate or use longer input? The rows of a publication's verdicts.csv.

The rule and the quantities are those of statistics/fails_or_uses.py, on the matched protocol: F =
loss at L' - loss at L; U = loss of the same model confined to L tokens - loss at L', by a window of
the text (fresh: U = -F) and, where the hard_window protocol was evaluated, by a hard window in
every layer. `uses` and `tolerates` hold against every window that was measured.

With references (references.py) there is the utilisation u = U / U_ref, U against the fresh window,
with Fieller's interval; and the corpus gate: where the best reference does not gain 0.005 nats with
95 % confidence, the word is `undecided` instead of `uses`.

95 % intervals, not corrected for the number of rows: exploratory. Losses in nats/token.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lengthgen.reporting import publication, references, tables
from lengthgen.statistics.losses import Losses, common_seeds

# F, U against a fresh window, U against the hard window; each with _low and _high.
MEASURED = ("failure", "use_fresh", "use_hard_window")
RELATIVE = ("use_reference", "utilisation")  # U_ref and u, likewise
# A row for each scheme and length beyond the training length. word: fails, tolerates, uses,
# undecided; or the status that left no value.
VERDICTS = (
    *tables.GROUP, "scheme", "eval_length", "n_seeds", "n_documents",
    *chain(*map(tables.ends, MEASURED)), "word",
)  # fmt: skip
# The reference, and the gate's word: passed, refused (gate_reason says why), or empty where no
# reference was trained at so long a length. Not written where the gate was not tried.
GATED = ("reference", *chain(*map(tables.ends, RELATIVE)), "gate", "gate_reason")


def table(
    documents: pd.DataFrame,
    summary: pd.DataFrame,
    note: Mapping[str, Any] | None = None,
    reference_rows: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """VERDICTS and GATED from the rows of documents.csv and their summary.

    note: the publication's provenance. reference_rows: references.csv. Empty where no length beyond
    training has the targets of the training length.
    """
    beyond = summary[
        (summary["protocol"] == "matched") & (summary["eval_length"] > summary["train_length"])
    ]
    keys = [*tables.GROUP, "scheme"]
    scored = dict(list(documents.groupby(keys, sort=False)))
    rows = []
    for line, of_line in beyond.groupby(keys, sort=False):
        by_protocol = {
            str(protocol): Losses.of_rows(of_protocol)
            for protocol, of_protocol in (
                scored[line].groupby("protocol") if line in scored else ()
            )
        }
        for mean in tables.as_rows(of_line):
            row = dict.fromkeys((*VERDICTS, *GATED)) | {"gate": ""}
            row |= {column: mean[column] for column in (*keys, "eval_length")}
            if mean["status"] != "ok":
                rows.append(row | {"n_seeds": 0, "n_documents": 0, "word": mean["status"]})
            elif np.isfinite(mean["loss_change"]):
                targets = publication.targets_of(note or {}, mean["setting"], mean["evaluation"])
                length = int(mean["eval_length"])
                ranked = references.available(reference_rows, mean, targets, length)
                rows.append(row | _verdict(by_protocol, mean, ranked))
    numbers = chain(*map(tables.ends, (*MEASURED, *RELATIVE)))
    verdicts = pd.DataFrame(rows, columns=[*VERDICTS, *GATED])
    return tables.sort(verdicts.astype(dict.fromkeys(numbers, np.float64)))


def write(verdicts: pd.DataFrame, folder: Path) -> list[Path]:
    """verdicts.csv into `folder`, or none (and no old one) without rows. Returns the files."""
    columns = (*VERDICTS, *GATED) if tried(verdicts) else VERDICTS
    return tables.write_or_remove(folder / "verdicts.csv", verdicts, columns)


def tried(verdicts: pd.DataFrame) -> bool:
    """Was the corpus gate tried at any length?"""
    return bool((verdicts["gate"] != "").any())


def refused(verdicts: pd.DataFrame) -> dict[int, str]:
    """The lengths at which the gate refused a claim of use, and why."""
    rows = verdicts[verdicts["gate"] == "refused"].drop_duplicates("eval_length")
    rows = rows.sort_values("eval_length")
    return {int(row["eval_length"]): row["gate_reason"] for row in tables.as_rows(rows)}


def of_group(table: pd.DataFrame, first: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of the group that a row of the summary belongs to."""
    return table[tables.matching(table, tables.GROUP, first)]


def _verdict(
    by_protocol: Mapping[str, Losses],
    line: Mapping[str, Any],
    ranked: Sequence[references.Reference],
) -> dict[str, Any]:
    """For one row of the summary, of the seeds that have both lengths."""
    from lengthgen.statistics import comparisons, fails_or_uses

    train_length, eval_length = int(line["train_length"]), int(line["eval_length"])
    short, long = (by_protocol["matched"].at(n) for n in (train_length, eval_length))
    seeds = common_seeds(short, long)
    short, long = short.of_seeds(seeds), long.of_seeds(seeds)
    paired = {"failure": long.minus(short), "use_fresh": short.minus(long)}
    if "hard_window" in by_protocol and eval_length in by_protocol["hard_window"].lengths:
        window = by_protocol["hard_window"].at(eval_length)
        if set(seeds) <= set(window.seeds):  # else it would flatter the scheme
            paired["use_hard_window"] = window.of_seeds(seeds).minus(long)
    estimates = {name: comparisons.estimate(each) for name, each in paired.items()}
    uses = [estimate for name, estimate in estimates.items() if name != "failure"]
    (word,) = fails_or_uses.classify(estimates["failure"], uses)
    n_documents = int(estimates["failure"].n_documents[0])
    row = {"n_seeds": len(seeds), "n_documents": n_documents, "word": word}
    for name, estimate in estimates.items():
        row |= _ends(name, estimate.value, estimate.low, estimate.high)
    # The floor is exact: no trained model is a better reference.
    floor = references.of_floor(short, long)
    ranked = [floor] if floor else ranked
    return row | (_relative(short, long, word, str(line["scheme"]), ranked) if ranked else {})


def _relative(
    short: Losses, long: Losses, word: str, scheme: str, ranked: Sequence[references.Reference]
) -> dict[str, Any]:
    """U_ref, u, the gate, and the word that it leaves."""
    from lengthgen.statistics import comparisons, fails_or_uses

    reference, best = references.own_or_best(scheme, ranked), ranked[0]
    taken, available = reference.gain(short.seeds)
    gain = short.of_seeds(taken).minus(long.of_seeds(taken))
    relative, there = fails_or_uses.utilisation(gain, available), comparisons.estimate(available)
    _, of_best = best.gain(best.seeds)
    gate = fails_or_uses.gate(comparisons.estimate(of_best), name=best.name)
    return {
        "reference": reference.described(short.seeds),
        "gate": "passed" if gate.passed[0] else "refused",
        "gate_reason": gate.reasons[0],
        "word": "undecided" if word == "uses" and not gate.passed[0] else word,
        **_ends("use_reference", there.value, there.low, there.high),
        **_ends("utilisation", *relative),
    }


def _ends(name: str, *values: np.ndarray) -> dict[str, float]:
    return {end: float(value[0]) for end, value in zip(tables.ends(name), values, strict=True)}
