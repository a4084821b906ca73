"""Does each scheme fail beyond its training length, tolerate the longer input, or use it? The rows of a publication's verdicts.csv.

The rule and the quantities are those of evaluation/context.py, over the seeds and documents of the matched protocol: F = loss at L' minus
loss at L; U = loss of the same model confined to L tokens minus loss at L', confined by a window of the text (fresh: U = -F) and, where the
hard_window protocol was asked for, by a hard window in every layer. `uses` and `tolerates` are said against every window that was measured.

With references (references.py) there is the utilisation u = U / U_ref, U against the fresh window, with Fieller's interval; and the corpus
gate: where the best reference does not surely gain 0.005 nats, `uses` is not said (the word is `undecided`) whatever U is.

Intervals are 95 % each, and not corrected for the number of rows: exploratory. Losses in nats/token.
Shape letters: S seeds, D documents.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lengthgen.reporting import publication, references, tables
from lengthgen.statistics.losses import Losses, common_seeds

ENDS = ("", "_low", "_high")
MEASURED = (
    "failure",
    "use_fresh",
    "use_hard_window",
)  # F, U against a fresh window, U against the hard window; each with _low and _high
RELATIVE = ("use_reference", "utilisation")  # U_ref and u, likewise
# A row for each scheme and length beyond the training length. word: fails, tolerates, uses,
# undecided; or the status that left no value.
VERDICTS = (
    *tables.GROUP, "scheme", "eval_length", "n_seeds", "n_documents",
    *(f"{name}{end}" for name in MEASURED for end in ENDS), "word",
)  # fmt: skip
# Where a reference was tried: which one, and the gate's word: passed, refused (gate_reason says
# why), or empty where no reference was trained at so long a length. Not written where there is
# none.
GATED = ("reference", *(f"{name}{end}" for name in RELATIVE for end in ENDS), "gate", "gate_reason")


def table(
    documents: pd.DataFrame,
    summary: pd.DataFrame,
    note: Mapping[str, Any] | None = None,
    reference_rows: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """VERDICTS and GATED from the rows of documents.csv and their summary. Empty where no length beyond training has the targets of it.

    note: the publication's provenance, which knows the scored targets. reference_rows: references.csv.
    """
    beyond = summary[
        (summary["protocol"] == "matched") & (summary["eval_length"] > summary["train_length"])
    ]
    keys = [*tables.GROUP, "scheme"]
    scored = dict(list(documents.groupby(keys, sort=False)))
    rows = []
    for line, own in beyond.groupby(keys, sort=False):
        by_protocol = {
            protocol: Losses.of_rows(rows_of)
            for protocol, rows_of in (scored[line].groupby("protocol") if line in scored else ())
        }
        for said in own.to_dict("records"):
            row = (
                dict.fromkeys((*VERDICTS, *GATED))
                | {column: said[column] for column in (*keys, "eval_length")}
                | {"gate": ""}
            )
            if said["status"] != "ok":
                rows.append(row | {"n_seeds": 0, "n_documents": 0, "word": said["status"]})
            elif np.isfinite(said["loss_change"]):
                targets = publication.targets_of(note or {}, said["setting"], said["evaluation"])
                ranked = references.available(
                    reference_rows, said, targets, int(said["eval_length"])
                )
                rows.append(row | _verdict(by_protocol, said, ranked))
    found = pd.DataFrame(rows, columns=[*VERDICTS, *GATED])
    return tables.sort(
        found.astype(
            {f"{name}{end}": np.float64 for name in (*MEASURED, *RELATIVE) for end in ENDS}
        )
    )


def write(found: pd.DataFrame, folder: Path) -> list[Path]:
    """verdicts.csv into `folder`, or none (and no old one) if there are no rows.

    Returns the files.
    """
    path = folder / "verdicts.csv"
    if found.empty:
        path.unlink(missing_ok=True)
        return []
    tables.write_table(path, found, (*VERDICTS, *GATED) if tried(found) else VERDICTS)
    return [path]


def tried(found: pd.DataFrame) -> bool:
    """Was the corpus gate tried at any length?"""
    return bool((found["gate"] != "").any())


def refused(found: pd.DataFrame) -> dict[int, str]:
    """The lengths at which the gate refused a claim of use, and why."""
    rows = found[found["gate"] == "refused"].drop_duplicates("eval_length")
    return {
        int(row["eval_length"]): row["gate_reason"]
        for row in rows.sort_values("eval_length").to_dict("records")
    }


def of_group(found: pd.DataFrame, first: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of the group that a row of the summary belongs to."""
    for column in tables.GROUP:
        found = found[found[column] == first[column]]
    return found


def _verdict(
    by_protocol: Mapping[str, Losses],
    line: Mapping[str, Any],
    ranked: Sequence[references.Reference],
) -> dict[str, Any]:
    """The numbers and the word of one scheme at one length, of the seeds that have both lengths.

    line: its row of the summary.
    """
    from lengthgen.statistics import comparisons, fails_or_uses

    train_length, eval_length = int(line["train_length"]), int(line["eval_length"])
    short, long = (by_protocol["matched"].at(n) for n in (train_length, eval_length))
    seeds = common_seeds(short, long)
    short, long = short.of_seeds(seeds), long.of_seeds(seeds)
    paired = {"failure": long.minus(short), "use_fresh": short.minus(long)}
    if "hard_window" in by_protocol and eval_length in by_protocol["hard_window"].lengths:
        window = by_protocol["hard_window"].at(eval_length)
        if set(seeds) <= set(window.seeds):  # one of some seeds only would flatter the scheme
            paired["use_hard_window"] = window.of_seeds(seeds).minus(long)
    estimates = {name: comparisons.estimate(each) for name, each in paired.items()}
    uses = [estimate for name, estimate in estimates.items() if name != "failure"]
    (word,) = fails_or_uses.classify(estimates["failure"], uses)
    n_documents = int(estimates["failure"].n_documents[0])
    row = {"n_seeds": len(seeds), "n_documents": n_documents, "word": word}
    for name, estimate in estimates.items():
        row |= _ends(name, estimate.value, estimate.low, estimate.high)
    floor = references.of_floor(short, long)
    ranked = [floor] if floor else ranked
    return row | (_relative(short, long, word, str(line["scheme"]), ranked) if ranked else {})


def _relative(
    short: Losses, long: Losses, word: str, scheme: str, ranked: Sequence[references.Reference]
) -> dict[str, Any]:
    """U_ref, u and the gate of one scheme at one length, and the word that the gate leaves."""
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
    return {f"{name}{end}": float(value[0]) for end, value in zip(ENDS, values, strict=True)}
