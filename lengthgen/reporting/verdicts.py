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
from lengthgen.statistics import losses
from lengthgen.statistics.losses import Grids

ENDS = ("", "_low", "_high")
MEASURED = (
    "failure",
    "use_fresh",
    "use_hard_window",
)  # F, U against a fresh window, U against the hard window; each with _low and _high
RELATIVE = ("use_reference", "utilisation")  # U_ref and u, likewise
# A row for each scheme and length beyond the training length. word: fails, tolerates, uses, undecided; or the status that left no value.
VERDICTS = (
    *tables.GROUP, "scheme", "eval_length", "n_seeds", "n_documents",
    *(f"{name}{end}" for name in MEASURED for end in ENDS), "word",
)  # fmt: skip
# Where a reference was tried: which one, and the gate's word: passed, refused (gate_reason says why), or empty where no reference
# was trained at so long a length. Not written where there is none.
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
        at = losses.of_scheme(scored[line]) if line in scored else {}
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
                rows.append(row | _answer(at, said, ranked))
    found = pd.DataFrame(rows, columns=[*VERDICTS, *GATED])
    return tables.sort(
        found.astype(
            {f"{name}{end}": np.float64 for name in (*MEASURED, *RELATIVE) for end in ENDS}
        )
    )


def write(found: pd.DataFrame, folder: Path) -> list[Path]:
    """verdicts.csv into `folder`, or none (and no old one) if there are no rows. Returns the files."""
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


def _answer(
    at: Grids, said: Mapping[str, Any], ranked: Sequence[references.Reference]
) -> dict[str, Any]:
    """The numbers and the word of one scheme at one length, of the seeds that have it and the training length."""
    from lengthgen.statistics import comparisons, fails_or_uses

    train_length, eval_length = int(said["train_length"]), int(said["eval_length"])
    wanted = {
        "short": ("matched", train_length),
        "long": ("matched", eval_length),
        "hard_window": ("hard_window", eval_length),
    }
    parts = {name: at[key] for name, key in wanted.items() if key in at}
    seeds = losses.common(parts["short"], parts["long"])
    if "hard_window" in parts and not set(seeds) <= set(
        parts["hard_window"].seeds
    ):  # of some seeds only: it would flatter the scheme
        del parts["hard_window"]
    sums, tokens = (
        dict(zip(parts, np.moveaxis(each, 1, 0)[:, :, None], strict=True))
        for each in losses.stacked([*parts.values()], seeds)
    )
    differences = {
        "failure": ("long", "short"),
        "use_fresh": ("short", "long"),
        "use_hard_window": ("hard_window", "long"),
    }
    paired = {
        name: comparisons.difference(sums[one], sums[other], tokens[one], tokens[other])
        for name, (one, other) in differences.items()
        if one in parts
    }
    found = {name: comparisons.estimate(each) for name, each in paired.items()}
    (word,) = fails_or_uses.classify(
        found["failure"], [estimate for name, estimate in found.items() if name != "failure"]
    )
    numbers: dict[str, Any] = {
        "n_seeds": len(seeds),
        "n_documents": int(found["failure"].n_documents[0]),
        "word": word,
    }
    for name, estimate in found.items():
        numbers |= _ends(name, estimate.value, estimate.low, estimate.high)
    floor = references.of_floor(parts["short"], parts["long"])
    ranked = [floor] if floor else ranked
    return numbers | (_relative(parts, seeds, word, str(said["scheme"]), ranked) if ranked else {})


def _relative(
    parts: Mapping[str, losses.Grid], seeds: list[int], word: str, scheme: str, ranked: Sequence
) -> dict[str, Any]:
    """U_ref, u and the gate of one scheme at one length, and the word that the gate leaves."""
    from lengthgen.statistics import comparisons, fails_or_uses

    reference, best = references.own_or_best(scheme, ranked), ranked[0]
    taken, reference_sums, reference_tokens = references.paired(reference, seeds)
    gain = _gain(*losses.stacked([parts["short"], parts["long"]], taken))
    available = _gain(reference_sums, reference_tokens)
    relative, there = fails_or_uses.utilisation(gain, available), comparisons.estimate(available)
    every = comparisons.estimate(_gain(*losses.stacked([best.short, best.long], best.seeds)))
    gate = fails_or_uses.gate(every, name=best.name)
    return {
        "reference": references.described(reference, seeds),
        "gate": "passed" if gate.passed[0] else "refused",
        "gate_reason": gate.reasons[0],
        "word": "undecided" if word == "uses" and not gate.passed[0] else word,
    } | _ends("use_reference", there.value, there.low, there.high) | _ends("utilisation", *relative)  # fmt: skip


def _gain(sums: np.ndarray, tokens: np.ndarray):
    """Loss sums and token counts (S, 2, D), with L and with L' tokens -> the paired gain, one column."""
    from lengthgen.statistics import comparisons

    return comparisons.difference(sums[:, :1], sums[:, 1:], tokens[:, :1], tokens[:, 1:])


def _ends(name: str, *values: np.ndarray) -> dict[str, float]:
    return {f"{name}{end}": float(value[0]) for end, value in zip(ENDS, values, strict=True)}
