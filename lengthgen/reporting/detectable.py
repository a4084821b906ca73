"""How small a difference a publication could have seen at all: the rows of its power.csv.

For each length beyond the training length the minimum detectable difference (evaluation/power.py:
found four times in five, at 0.05) of the matched losses, with the publication's own seeds,
documents and variances: of each scheme's change from the training length, and of the difference
between any two schemes. With one seed nothing is known of other seeds: what is given then holds for
other documents alone.

Shape letters: S seeds, A lengths, D documents. Nats a token.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lengthgen.reporting import tables
from lengthgen.reporting.figures import palette
from lengthgen.statistics.losses import Losses, Paired, common_seeds

KINDS = ("change", "difference")
# kind: change (of `scheme`, from the training length) or difference (`scheme` minus `baseline`).
# sd_*: standard deviations of the paired difference by seed, by document, and by both. detectable:
# see above; cautious: the same, had these runs been lucky with their variances.
POWER = (
    *tables.GROUP, "eval_length", "kind", "scheme", "baseline", "n_seeds", "n_documents", "sd_seed", "sd_document", "sd_interaction",
    "standard_error", "detectable", "cautious",
)  # fmt: skip
NUMBERS = POWER[-6:]


def table(documents: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """POWER from the rows of documents.csv.

    summary: says which lengths of which scheme have a value.
    """
    known = summary[(summary["protocol"] == "matched") & (summary["status"] == "ok")]
    scored = documents[documents["protocol"] == "matched"]
    rows = []
    for group, own in scored.groupby(list(tables.GROUP), sort=True):
        here = known[
            np.logical_and.reduce(
                [known[name] == value for name, value in zip(tables.GROUP, group, strict=True)]
            )
        ]
        schemes = sorted(here["scheme"].unique(), key=palette.order)
        at = {scheme: Losses.of_rows(own[own["scheme"] == scheme]) for scheme in schemes}
        valued = set(here[["scheme", "eval_length"]].itertuples(index=False, name=None))
        identity = dict(zip(tables.GROUP, group, strict=True))
        for eval_length in sorted(
            {length for _, length in valued if length > identity["train_length"]}
        ):
            there = {scheme: at[scheme] for scheme in schemes if (scheme, eval_length) in valued}
            rows += [
                identity | row
                for row in _at_length(there, int(identity["train_length"]), int(eval_length))
            ]
    return pd.DataFrame(rows, columns=list(POWER)).astype(dict.fromkeys(NUMBERS, np.float64))


def write(found: pd.DataFrame, folder: Path) -> list[Path]:
    """power.csv into `folder`, or none (and no old one) if there are no rows. Returns the files."""
    path = folder / "power.csv"
    if found.empty:
        path.unlink(missing_ok=True)
        return []
    tables.write_table(path, found, POWER)
    return [path]


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
