"""What there is to be gained by longer input: models trained at the longer length, or the exact floor, on the targets of a publication.

For a published model trained at L and read at L', the reference's gain is
    U_ref(L') = NLL_ref(L) - NLL_ref(L'), on the same targets,
with *the reference itself* confined to L tokens by a window of the text, as the published model is in U(L') = NLL(L) - NLL(L'): both
sides of u = U / U_ref are gains of one model over itself, so that neither better training nor a better scheme counts as use of context.
A reference was trained at L' or more: both of its windows are of a length that it was trained at. It read fewer beginnings than a model
trained at L on as many tokens; if that leaves it worse at L, U_ref is too large, and u errs on the small side, the gate on the lenient.

Which reference: of those trained at the length nearest to L' from above, for u the one of the same scheme (of a retrofit or modifier: of
the scheme under it, if its own is missing), else the best, the one with the least loss at L'. The gate asks about the text, not the scheme:
its reference is always the best one, since a scheme that acts as a window gains nothing on any text. Data with an exact floor need
no model: floor(L) - floor(L') is all that there is to be gained.

Seeds are paired where the reference has those of the published model, or at least two of them; else its mean over seeds is taken as
fixed, and `described` says so. Rows: references.csv, the columns of documents.csv and `targets`, the hash of the scored tokens
(origins.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lengthgen.errors import ConfigError
from lengthgen.evaluation import records
from lengthgen.reporting import publication, tables
from lengthgen.statistics.losses import Losses, Paired, common_seeds

COLUMNS = (*records.DOCUMENTS, "targets")
FILE = "references.csv"
FLOOR = "the exact floor"
SAME_DATA = ("dataset", "model")


@dataclass(frozen=True)
class Reference:
    """A reference's losses on one set of targets: `short` with L tokens, `long` with L'."""

    name: str  # rope trained at 2048
    scheme: str
    short: Losses
    long: Losses

    @property
    def seeds(self) -> list[int]:
        return common_seeds(self.short, self.long)

    @property
    def loss(self) -> float:
        """With L' tokens, over all seeds."""
        return float(self.long.loss_sum.sum() / self.long.n_tokens.sum())

    def gain(self, seeds: Sequence[int]) -> tuple[list[int], Paired]:
        """(seeds of a published model to take, U_ref): paired with `seeds`, or the mean over seeds."""
        taken = self._shared(seeds) or self.seeds
        short, long = self.short.of_seeds(taken), self.long.of_seeds(taken)
        if self._shared(seeds):
            return taken, short.minus(long)
        return list(seeds), short.over_seeds().minus(long.over_seeds())

    def described(self, seeds: Sequence[int]) -> str:
        """`rope trained at 2048 (3 seeds, paired)`."""
        if self.scheme == FLOOR:
            return FLOOR
        shared = self._shared(seeds)
        n_seeds = len(shared or self.seeds)
        how = "paired" if shared else "taken as fixed"
        return f"{self.name} ({n_seeds} seed{'s' if n_seeds > 1 else ''}, {how})"

    def _shared(self, seeds: Sequence[int]) -> list[int]:
        """The seeds to pair with `seeds`: all of them, or at least two; else none."""
        shared = [seed for seed in seeds if seed in self.seeds]
        pairs = self.scheme != FLOOR and (len(shared) == len(seeds) or len(shared) > 1)
        return shared if pairs else []


def gather(
    found: tables.Tables,
    published: tables.Tables,
    note: Mapping[str, Any],
    runs: Sequence[records.RunFolder],
) -> pd.DataFrame:
    """COLUMNS of the chosen reference evaluations that some published group can be compared with. ConfigError if there are none.

    found: the tables of the chosen runs; note: the publication's provenance; runs: all runs, for the hashes of their targets.
    """
    lengths = found.lengths
    good = lengths[
        (lengths["metric"] == "loss")
        & (lengths["protocol"] == "matched")
        & (lengths["status"] == "ok")
    ]
    keys = ["run", "scheme", "evaluation", "eval_length", "protocol"]
    rows = found.documents.merge(good[keys].drop_duplicates(), on=keys)
    groups = (
        published.lengths[[*SAME_DATA, "train_length", *publication.SAME]]
        .drop_duplicates()
        .to_dict("records")
    )
    longer = [
        _same(rows, group) & (rows["train_length"] > group["train_length"]) for group in groups
    ]
    rows = rows[np.any(longer, axis=0)] if len(rows) else rows
    if rows.empty:
        raise ConfigError(
            "--reference-where chooses no run trained at a longer length on the dataset and model of the published ones; "
            "see `lengthgen list runs`"
        )
    hashes = {}
    for run in runs:
        if run.name in set(rows["run"]):
            for identity, folder in publication.evaluations(run):
                hashes[run.name, identity["scheme"], identity["evaluation"]] = publication.targets(
                    run, folder
                )
    of_row = [
        hashes.get(key)
        for key in rows[["run", "scheme", "evaluation"]].itertuples(index=False, name=None)
    ]
    wanted = {
        publication.targets_of(note, *(group[name] for name in publication.SAME))
        for group in groups
    } - {None}
    rows = rows.assign(targets=of_row)
    rows = rows[rows["targets"].isin(wanted)]
    if rows.empty:
        raise ConfigError(
            "the runs of --reference-where scored other tokens than the published ones; evaluate both with the same evaluation.documents, "
            "evaluation.block, evaluation.blocks, evaluation.block_spacing (null is the training length) and longest of evaluation.lengths"
        )
    return rows[list(COLUMNS)].reset_index(drop=True)


def read(folder: Path) -> pd.DataFrame | None:
    """references.csv of a published folder, if it has one."""
    path = folder / FILE
    return tables.read_table(path, COLUMNS) if path.is_file() else None


def write(found: pd.DataFrame | None, folder: Path) -> list[Path]:
    """references.csv into `folder`, or none (and no old one). Returns the files."""
    path = folder / FILE
    if found is None:
        path.unlink(missing_ok=True)
        return []
    tables.write_table(path, found, COLUMNS)
    return [path]


def available(
    found: pd.DataFrame | None, group: Mapping[str, Any], targets: str | None, eval_length: int
) -> list[Reference]:
    """The references of one published group (its tables.GROUP) at one length, the best first."""
    if found is None or targets is None:
        return []
    pair = (int(group["train_length"]), eval_length)
    rows = found[
        _same(found, group) & (found["targets"] == targets) & (found["train_length"] >= eval_length)
    ]
    rows = rows[rows["train_length"] == rows["train_length"].min()]
    references = []
    for (scheme, train_length, *_), own in rows.groupby(
        ["scheme", "train_length", "steps", "setting", "evaluation"], sort=True
    ):
        losses = Losses.of_rows(own[own["protocol"] == "matched"])
        if not set(pair) <= set(losses.lengths):
            continue
        reference = Reference(
            f"{scheme} trained at {train_length}", scheme, *(losses.at(n) for n in pair)
        )
        if reference.seeds:
            references.append(reference)
    return sorted(references, key=lambda reference: reference.loss)


def of_floor(short: Losses, long: Losses) -> Reference | None:
    """The exact floor as a reference, where both lengths have one."""
    ends = short.floor(), long.floor()
    return Reference(FLOOR, FLOOR, *ends) if all(ends) else None


def own_or_best(scheme: str, ranked: Sequence[Reference]) -> Reference:
    """The reference of this scheme, of the scheme under its modifiers and retrofit, or else the best."""
    for label in (scheme, scheme.partition("+")[0]):
        for reference in ranked:
            if reference.scheme == label:
                return reference
    return ranked[0]


def _same(rows: pd.DataFrame, group: Mapping[str, Any]) -> np.ndarray:
    return np.logical_and.reduce([rows[name] == group[name] for name in SAME_DATA])
