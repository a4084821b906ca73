"""How small a difference a publication could have seen: the rows of its power.csv.

For each length beyond the training length the minimum detectable difference (statistics/power.py:
found four times in five, at 0.05) of the matched losses: of each scheme's change from the training
length, and between any two schemes. With one seed it holds for other documents alone. Nats a token.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lengthgen.reporting import tables
from lengthgen.reporting.figures import palette
from lengthgen.statistics.losses import Losses, common_seeds
from lengthgen.statistics.paired import Paired

# kind: change (of `scheme`, from the training length) or difference (`scheme` minus `baseline`).
# sd_*: standard deviations of the paired difference by seed, by document, and by both. detectable:
# see above; cautious: the same, had these runs been lucky with their variances.
NUMBERS = (
    "sd_seed", "sd_document", "sd_interaction", "standard_error", "detectable", "cautious",
)  # fmt: skip
POWER = (
    *tables.GROUP, "eval_length", "kind", "scheme", "baseline", "n_seeds", "n_documents", *NUMBERS,
)  # fmt: skip


def table(documents: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """POWER from the rows of documents.csv. summary: says where a scheme has a value."""
    known = summary[(summary["protocol"] == "matched") & (summary["status"] == "ok")]
    scored = documents[documents["protocol"] == "matched"]
    rows = []
    for group, of_group in scored.groupby(list(tables.GROUP), sort=True):
        identity: dict[str, Any] = dict(zip(tables.GROUP, group, strict=True))
        train_length = int(identity["train_length"])
        valued = known[tables.matching(known, tables.GROUP, identity)]
        losses = {
            scheme: Losses.of_rows(of_group[of_group["scheme"] == scheme])
            for scheme in sorted(valued["scheme"].unique(), key=palette.order)
        }
        beyond = valued["eval_length"][valued["eval_length"] > train_length]
        for eval_length in sorted(int(length) for length in beyond.unique()):
            schemes = set(valued["scheme"][valued["eval_length"] == eval_length])
            there = {scheme: losses[scheme] for scheme in losses if scheme in schemes}
            rows += [identity | row for row in _at_length(there, train_length, eval_length)]
    return pd.DataFrame(rows, columns=list(POWER)).astype(dict.fromkeys(NUMBERS, np.float64))


def write(rows: pd.DataFrame, folder: Path) -> list[Path]:
    """power.csv into `folder`, or none (and no old one) without rows. Returns the files."""
    return tables.write_or_remove(folder / "power.csv", rows, POWER)


def _at_length(
    at: dict[str, Losses], train_length: int, eval_length: int
) -> Iterator[dict[str, Any]]:
    here = {scheme: losses.at(eval_length) for scheme, losses in at.items()}
    pairs = [
        ("change", scheme, "", here[scheme], losses.at(train_length))
        for scheme, losses in at.items()
        if train_length in losses.lengths
    ]
    pairs += [
        ("difference", one, other, here[one], here[other]) for one, other in combinations(at, 2)
    ]
    for kind, scheme, baseline, one, other in pairs:
        seeds = common_seeds(one, other)
        if seeds and one.documents == other.documents:
            names = {"kind": kind, "scheme": scheme, "baseline": baseline}
            difference = one.of_seeds(seeds).minus(other.of_seeds(seeds))
            yield {"eval_length": eval_length} | names | _numbers(difference)


def _numbers(difference: Paired) -> dict[str, Any]:
    from lengthgen.statistics import power

    seen = power.of(difference)
    numbers = (
        *(np.sqrt(part) for part in vars(seen.parts).values()),
        seen.standard_error,
        seen.detectable,
        seen.cautious,
    )
    n_seeds, _, n_documents = difference.sums.shape
    counts = {"n_seeds": n_seeds, "n_documents": n_documents}
    return counts | {name: float(value[0]) for name, value in zip(NUMBERS, numbers, strict=True)}
