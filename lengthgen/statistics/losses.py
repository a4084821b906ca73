"""The rows of documents.csv as arrays: losses by seed and document, of one scheme under one protocol at one length.

Shape letters: S seeds, D documents. Sums in nats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lengthgen.errors import DataError

MEASURED = ("loss_sum", "n_tokens", "floor_sum")


@dataclass(frozen=True)
class Grid:
    """seeds: S, rising; documents: D names, sorted. loss_sum, n_tokens, floor_sum (NaN where there is no floor): (S, D)."""

    seeds: tuple[int, ...]
    documents: tuple[str, ...]
    loss_sum: np.ndarray
    n_tokens: np.ndarray
    floor_sum: np.ndarray

    @property
    def loss(self) -> float:
        """Nats a token, over all seeds."""
        return float(self.loss_sum.sum() / self.n_tokens.sum())

    def of(self, seeds: Sequence[int]) -> list[int]:
        """The rows of these seeds."""
        return [self.seeds.index(seed) for seed in seeds]


Grids = Mapping[tuple[str, int], Grid]  # (protocol, eval_length) -> its grid


def of_scheme(rows: pd.DataFrame) -> dict[tuple[str, int], Grid]:
    """The grids of one scheme within one group of rows of documents.csv. DataError for a seed that two runs have."""
    of_seed = rows[["seed", "run"]].drop_duplicates()
    if of_seed["seed"].duplicated().any():
        seed, runs = next(
            (seed, own["run"]) for seed, own in of_seed.groupby("seed") if len(own) > 1
        )
        raise DataError(
            f"seed {seed} of {rows['scheme'].iloc[0]} is there twice: {' and '.join(runs)}; publish one, with --where run=..."
        )
    found = {}
    for (protocol, eval_length), own in rows.groupby(["protocol", "eval_length"], sort=True):
        wide = (
            own.pivot(index="seed", columns="document", values=list(MEASURED))
            .sort_index()
            .sort_index(axis=1)
        )
        unscored = wide["n_tokens"].isna().to_numpy()
        arrays = (np.where(unscored, 0.0, wide[name].to_numpy(np.float64)) for name in MEASURED)
        seeds, documents = (tuple(axis.tolist()) for axis in (wide.index, wide["n_tokens"].columns))
        found[protocol, int(eval_length)] = Grid(seeds, documents, *arrays)
    return found


def common(*grids: Grid) -> list[int]:
    """The seeds that all of them have."""
    return sorted(set.intersection(*(set(grid.seeds) for grid in grids)))


def stacked(
    grids: Sequence[Grid], seeds: Sequence[int], what: str = "loss_sum"
) -> tuple[np.ndarray, np.ndarray]:
    """Sums and token counts, (S, A, D) each: these seeds, the grids as columns, over the documents of all of them (0 where unscored)."""
    names = sorted(set().union(*(grid.documents for grid in grids)))
    sums, tokens = np.zeros((2, len(seeds), len(grids), len(names)))
    for column, grid in enumerate(grids):
        place, rows = np.searchsorted(names, grid.documents), grid.of(seeds)
        sums[:, column, place], tokens[:, column, place] = (
            getattr(grid, what)[rows],
            grid.n_tokens[rows],
        )
    return sums, tokens
