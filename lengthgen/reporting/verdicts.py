"""Does each scheme fail, tolerate or use longer input? The rows of a publication's verdicts.csv.

The rule and the quantities are those of statistics/fails_or_uses.py, on the matched protocol: F =
loss at L' - loss at L; U = loss of the same model confined to L tokens - loss at L', by a window of
the text (fresh: U = -F) and, where the hard_window protocol was evaluated, by a hard window in
every layer. `uses` and `tolerates` hold against every window that was measured.

What holds at the training length L comes first: below_bigram, what the loss at L is below that of
a bigram table of the training text (`untrained` unless surely above 0), and positions_gain, what it
is below that of `none` in the same group and with the same seeds, or, where that was not trained,
below the scheme's own with shuffled positions (`positions not in use` unless surely IN_USE nats).

With references (references.py) there is the utilisation u = U / U_ref, U against the fresh window,
with Fieller's interval; and the corpus gate: where the best reference does not gain 0.005 nats with
95 % confidence, the word is `undecided` instead of `uses`.

95 % intervals, not corrected for the number of rows: exploratory. Losses in nats/token.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lengthgen.reporting import publication, references, tables
from lengthgen.statistics.losses import Losses

if TYPE_CHECKING:
    from lengthgen.statistics import words

# F, U against a fresh window, U against the hard window; each with _low and _high.
MEASURED = ("failure", "use_fresh", "use_hard_window")
AT_L = ("below_bigram", "positions_gain")  # at the training length, likewise
RELATIVE = ("use_reference", "utilisation")  # U_ref and u, likewise
# A row for each scheme and length beyond the training length. word: untrained, positions not in
# use, fails, tolerates, uses, undecided (with the reason, where the numbers do not say it); or the
# status that left no value.
VERDICTS = (
    *tables.GROUP, "scheme", "eval_length", "n_seeds", "n_documents",
    *chain(*map(tables.ends, MEASURED)), "word",
)  # fmt: skip
# Not written where no row has one. bigram: the table's loss at L; positions_over: what
# positions_gain is a gain over.
OPTIONAL = ("bigram", *chain(*map(tables.ends, AT_L)), "positions_over", "reason")
# The reference, and the gate's word: passed, refused (gate_reason says why), or empty where no
# reference was trained at so long a length. Not written where the gate was not tried.
GATED = ("reference", *chain(*map(tables.ends, RELATIVE)), "gate", "gate_reason")
COLUMNS = (*VERDICTS, *OPTIONAL, *GATED)


def table(
    documents: pd.DataFrame,
    summary: pd.DataFrame,
    note: Mapping[str, Any] | None = None,
    reference_rows: pd.DataFrame | None = None,
    *,
    utilisation: bool = True,
) -> pd.DataFrame:
    """VERDICTS, OPTIONAL and GATED from the rows of documents.csv and their summary.

    note: the publication's provenance. reference_rows: references.csv. Empty where no length beyond
    training has the targets of the training length. utilisation: False leaves out u, whose interval
    takes longer than all the rest.
    """
    beyond = summary[
        (summary["protocol"] == "matched") & (summary["eval_length"] > summary["train_length"])
    ]
    keys = [*tables.GROUP, "scheme"]
    scored = {
        line: {str(name): Losses.of_rows(rows) for name, rows in of_line.groupby("protocol")}
        for line, of_line in documents.groupby(keys, sort=False)
    }
    rows = []
    for line, of_line in beyond.groupby(keys, sort=False):
        evidence = _evidence(line, scored)
        for mean in tables.as_rows(of_line):
            row = dict.fromkeys(COLUMNS) | {"gate": "", "positions_over": "", "reason": ""}
            row |= {column: mean[column] for column in (*keys, "eval_length")}
            if mean["status"] != "ok":
                rows.append(row | {"n_seeds": 0, "n_documents": 0, "word": mean["status"]})
            elif evidence and np.isfinite(mean["loss_change"]):
                targets = publication.targets_of(note or {}, mean["setting"], mean["evaluation"])
                length = int(mean["eval_length"])
                ranked = references.available(reference_rows, mean, targets, length)
                rows.append(row | _verdict(evidence, mean, ranked, utilisation))
    numbers = ["bigram", *chain(*map(tables.ends, (*MEASURED, *AT_L, *RELATIVE)))]
    verdicts = pd.DataFrame(rows, columns=list(COLUMNS))
    return tables.sort(verdicts.astype(dict.fromkeys(numbers, np.float64)))


def write(verdicts: pd.DataFrame, folder: Path) -> list[Path]:
    """verdicts.csv into `folder`, or none (and no old one) without rows. Returns the files."""
    text = verdicts.replace("", None)
    added = [name for name in OPTIONAL if text[name].notna().any()]
    columns = (*VERDICTS, *added, *(GATED if tried(verdicts) else ()))
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


def _evidence(line: tuple, scored: Mapping[tuple, Mapping[str, Losses]]) -> "words.Evidence | None":
    """Of one line (GROUP and scheme). None without a matched loss."""
    # scipy, which every comparison needs, is loaded here: `lengthgen plot` starts without it.
    from lengthgen.statistics import words

    *group, scheme = line
    mine, without = scored.get(line, {}), scored.get((*group, words.WITHOUT), {})
    train_length = int(dict(zip(tables.GROUP, group, strict=True))["train_length"])
    if "matched" not in mine:
        return None
    baselines = {
        name: of_protocol.at(train_length)
        for name, of_protocol in (
            (words.WITHOUT, without.get("matched")),
            (words.SHUFFLED, mine.get("shuffled")),
        )
        if of_protocol is not None and train_length in of_protocol.lengths
    }
    return words.Evidence(
        str(scheme), train_length, mine["matched"], mine.get("hard_window"), baselines
    )


def _verdict(
    evidence: "words.Evidence",
    line: Mapping[str, Any],
    ranked: Sequence[references.Reference],
    utilisation: bool,
) -> dict[str, Any]:
    """For one row of the summary, of the seeds that have both lengths."""
    eval_length = int(line["eval_length"])
    answer = evidence.at(eval_length)
    short, long = answer.short, answer.long
    row = {
        "n_seeds": answer.n_seeds,
        "n_documents": answer.n_documents,
        "word": answer.word,
        "reason": answer.reason,
        "positions_over": answer.positions_over,
    }
    for name, estimate in answer.estimates.items():
        row |= _ends(name, estimate.value, estimate.low, estimate.high)
    if (table := short.bigram()) is not None:
        row["bigram"] = float(table.paired().value[0])
    # The floor is exact: no trained model is a better reference.
    floor = references.of_floor(short, long)
    ranked = [floor] if floor else ranked
    if ranked:
        row |= _gate(answer.word, ranked[0])
    if ranked and utilisation:
        row |= _relative(short, long, references.own_or_best(str(line["scheme"]), ranked))
    return row


def _gate(word: str, best: references.Reference) -> dict[str, Any]:
    """The gate, and the word that it leaves."""
    from lengthgen.statistics import comparisons, fails_or_uses

    _, of_best = best.gain(best.seeds)
    gate = fails_or_uses.gate(comparisons.estimate(of_best), name=best.name)
    return {
        "gate": "passed" if gate.passed[0] else "refused",
        "gate_reason": gate.reasons[0],
        "word": "undecided" if word == "uses" and not gate.passed[0] else word,
    }


def _relative(short: Losses, long: Losses, reference: references.Reference) -> dict[str, Any]:
    """U_ref and u."""
    from lengthgen.statistics import comparisons, fails_or_uses

    taken, available = reference.gain(short.seeds)
    gain = short.of_seeds(taken).minus(long.of_seeds(taken))
    relative, there = fails_or_uses.utilisation(gain, available), comparisons.estimate(available)
    return {
        "reference": reference.described(short.seeds),
        **_ends("use_reference", there.value, there.low, there.high),
        **_ends("utilisation", *relative),
    }


def _ends(name: str, *values: np.ndarray) -> dict[str, float]:
    return {end: float(value[0]) for end, value in zip(tables.ends(name), values, strict=True)}
