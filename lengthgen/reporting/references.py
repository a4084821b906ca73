"""What longer input can gain: models trained at the longer length, or the exact floor.

For a published model trained at L and evaluated at L', the reference's gain on the same targets is
    U_ref(L') = NLL_ref(L) - NLL_ref(L'),
confined to L tokens by a window of the text, as the published model is in U(L') = NLL(L) - NLL(L').
Both sides of u = U / U_ref are gains of one model over itself, so neither better training nor a
better scheme counts as use of context. A reference was trained at L' or more. It read fewer
beginnings than a model trained at L on as many tokens; if that leaves it worse at L, U_ref is too
large: u errs on the small side, the gate on the lenient.

Of the references trained at the nearest length from L' up, u takes the one of the same scheme (else
of the scheme under its retrofit or modifier), else the one with the least loss at L'. The gate asks
about the text, so it takes the best one: a scheme that acts as a window gains nothing on any text.
Data with an exact floor need no model: floor(L) - floor(L') is all that can be gained.

Seeds are paired where the reference has those of the published model, or at least two of them; else
its mean over seeds is taken as fixed, and `described` says so. references.csv has the columns of
documents.csv and `targets`, the hash of the scored tokens (publication.py).
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
from lengthgen.statistics.losses import Losses, common_seeds
from lengthgen.statistics.paired import Paired

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
        """(seeds of the published model to take, U_ref), paired with `seeds` or fixed."""
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
        """The seeds to pair: all of `seeds`, or at least two; else none."""
        shared = [seed for seed in seeds if seed in self.seeds]
        pairs = self.scheme != FLOOR and (len(shared) == len(seeds) or len(shared) > 1)
        return shared if pairs else []


def gather(
    chosen: tables.Tables,
    published: tables.Tables,
    note: Mapping[str, Any],
    runs: Sequence[records.RunFolder],
) -> pd.DataFrame:
    """COLUMNS of the chosen evaluations that some published group can be compared with.

    note: the publication's provenance; runs: for the hashes of their targets. ConfigError if no
    evaluation serves.
    """
    lengths = chosen.lengths
    usable = {"metric": "loss", "protocol": "matched", "status": "ok"}
    keys = ["run", "scheme", "evaluation", "eval_length", "protocol"]
    scored = lengths[tables.matching(lengths, list(usable), usable)][keys].drop_duplicates()
    rows = chosen.documents.merge(scored, on=keys)
    of_group = [*SAME_DATA, "train_length", *publication.SAME]
    groups = tables.as_rows(published.lengths[of_group].drop_duplicates())
    longer = [
        tables.matching(rows, SAME_DATA, group) & (rows["train_length"] > group["train_length"])
        for group in groups
    ]
    rows = rows[np.any(longer, axis=0)] if len(rows) else rows
    if rows.empty:
        raise ConfigError(
            "--reference-where chooses no run trained at a longer length on the dataset and model "
            "of the published ones; see `lengthgen list runs`"
        )
    names = set(rows["run"])
    hashes = {
        (run.name, identity["scheme"], identity["evaluation"]): publication.targets(run, folder)
        for run in runs
        if run.name in names
        for identity, folder in publication.evaluations(run)
    }
    keyed = rows[["run", "scheme", "evaluation"]].itertuples(index=False, name=None)
    rows = rows.assign(targets=pd.Series([hashes.get(key) for key in keyed], index=rows.index))
    published_targets = {
        publication.targets_of(note, group["setting"], group["evaluation"]) for group in groups
    }
    rows = rows[rows["targets"].isin(published_targets - {None})]
    if rows.empty:
        raise ConfigError(
            "the runs of --reference-where scored other tokens than the published ones; evaluate "
            "both with the same evaluation.documents, evaluation.block, evaluation.blocks, "
            "evaluation.block_spacing (null is the training length) and longest of "
            "evaluation.lengths"
        )
    return rows[list(COLUMNS)].reset_index(drop=True)


def read(folder: Path) -> pd.DataFrame | None:
    """references.csv of a published folder, if it has one."""
    path = folder / FILE
    return tables.read_table(path, COLUMNS) if path.is_file() else None


def write(rows: pd.DataFrame | None, folder: Path) -> list[Path]:
    """references.csv into `folder`, or none (and no old one). Returns the files."""
    return tables.write_or_remove(folder / FILE, rows, COLUMNS)


def available(
    rows: pd.DataFrame | None, group: Mapping[str, Any], targets: str | None, eval_length: int
) -> list[Reference]:
    """The references of one published group (tables.GROUP) at one length, the best first."""
    if rows is None or targets is None:
        return []
    same = tables.matching(rows, SAME_DATA, group) & (rows["targets"] == targets)
    rows = rows[same & (rows["train_length"] >= eval_length)]
    rows = rows[rows["train_length"] == rows["train_length"].min()]
    references = []
    keys = ["scheme", "train_length", "steps", "setting", "evaluation"]
    for (scheme, train_length, *_), of_one in rows.groupby(keys, sort=True):
        losses = Losses.of_rows(of_one[of_one["protocol"] == "matched"])
        ends = int(group["train_length"]), eval_length
        if not set(ends) <= set(losses.lengths):
            continue
        short, long = (losses.at(length) for length in ends)
        reference = Reference(f"{scheme} trained at {train_length}", str(scheme), short, long)
        if reference.seeds:
            references.append(reference)
    return sorted(references, key=lambda reference: reference.loss)


def of_floor(short: Losses, long: Losses) -> Reference | None:
    """The exact floor as a reference, where both lengths have one."""
    least, most = long.floor(), short.floor()
    return Reference(FLOOR, FLOOR, most, least) if most and least else None


def own_or_best(scheme: str, ranked: Sequence[Reference]) -> Reference:
    """The reference of this scheme, of the one under its modifiers and retrofit, or the best."""
    for label in (scheme, scheme.partition("+")[0]):
        for reference in ranked:
            if reference.scheme == label:
                return reference
    return ranked[0]
