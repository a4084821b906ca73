"""Losses of one scheme under one protocol, added up by seed, evaluation length and document.

Built from rows of documents.csv (`of_rows`) or per-token losses (evaluation/stored.py). Intervals
are those of every verdict (comparisons.py): with several seeds for new seeds and documents, with
one seed for new documents alone.

Shape letters: S seeds, A evaluation lengths, D documents. Sums in nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lengthgen.errors import DataError
from lengthgen.statistics.paired import Paired, over_seeds, require_same_targets

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Means:
    """Nats a token, with 95 % intervals. NaN for what is not known."""

    value: Float[np.ndarray, " A"]
    low: Float[np.ndarray, " A"]
    high: Float[np.ndarray, " A"]


@dataclass(frozen=True)
class Losses:
    """Sums over the scored tokens of each document; 0 tokens where a seed lacks a length.

    floor_sum: the exact floor of the same tokens; bigram_sum: the loss of a bigram table on them.
    NaN where it is not known; None without any. n_bytes: of the text that the tokens stand for.
    """

    loss_sum: Float[np.ndarray, "S A D"]
    n_tokens: Float[np.ndarray, "S A D"]
    seeds: tuple[int, ...]
    lengths: tuple[int, ...]
    documents: tuple[str, ...]
    floor_sum: Float[np.ndarray, "S A D"] | None = None
    n_bytes: Float[np.ndarray, "S A D"] | None = None
    bigram_sum: Float[np.ndarray, "S A D"] | None = None

    @classmethod
    def of_rows(cls, rows: "pd.DataFrame") -> "Losses":
        """From rows of documents.csv. DataError for a seed that two runs have."""
        runs = rows[["seed", "run"]].drop_duplicates().sort_values(["seed", "run"])
        twice = runs[runs["seed"].duplicated(keep=False)]
        if len(twice):
            first = twice["seed"].iloc[0]
            names = " and ".join(twice["run"][twice["seed"] == first])
            raise DataError(
                f"two runs of {rows['scheme'].iloc[0]} have seed {first}: {names}; "
                "publish one of them, with --where run=..."
            )
        (seed, seeds), (length, lengths), (document, documents) = (
            rows[name].factorize(sort=True) for name in ("seed", "eval_length", "document")
        )

        def dense(column: str) -> np.ndarray:
            values = np.zeros((len(seeds), len(lengths), len(documents)))
            values[seed, length, document] = rows[column].to_numpy(np.float64)
            return values

        return cls(
            dense("loss_sum"),
            dense("n_tokens"),
            tuple(int(each) for each in seeds),
            tuple(int(each) for each in lengths),
            tuple(str(each) for each in documents),
            dense("floor_sum") if _known(rows, "floor_sum") else None,
            dense("n_bytes"),
            dense("bigram_sum") if _known(rows, "bigram_sum") else None,
        )

    @classmethod
    def numbered(
        cls, loss_sum: Float[np.ndarray, "S A D"], n_tokens: Float[np.ndarray, "S A D"]
    ) -> "Losses":
        """Sums whose seeds, lengths and documents have no names but their numbers."""
        if loss_sum.ndim != 3:
            raise ValueError(
                f"loss sums have {loss_sum.ndim} axes; expected (seeds, lengths, documents)"
            )
        seeds, lengths, documents = (tuple(range(size)) for size in loss_sum.shape)
        return cls(loss_sum, n_tokens, seeds, lengths, tuple(map(str, documents)))

    def of_seeds(self, seeds: Sequence[int]) -> "Losses":
        """These seeds alone, in this order."""
        return self._taken([self.seeds.index(seed) for seed in seeds])

    def at(self, length: int) -> "Losses":
        """One length, with the seeds and documents that have a value there."""
        column = self.lengths.index(length)
        scored = self.n_tokens[:, column] > 0
        seeds, documents = (np.flatnonzero(scored.any(axis=axis)) for axis in (1, 0))
        return self._taken(seeds, [column], documents)

    def floor(self) -> "Losses | None":
        """The exact floor as losses of one seed, as it is the same for all. None if unknown."""
        if self.floor_sum is None or not np.isfinite(self.floor_sum[0]).all():
            return None
        return replace(self, loss_sum=self.floor_sum)._taken([0])

    def excess(self) -> "Losses":
        """The losses above the exact floor of the same tokens. DataError without a floor."""
        if self.floor_sum is None:
            raise DataError("these data have no exact floor; expected a synthetic dataset")
        excess = self.loss_sum - self.floor_sum
        return replace(self, loss_sum=excess, floor_sum=None, bigram_sum=None)

    def bigram(self) -> "Losses | None":
        """The losses of the bigram table on the same tokens. None if a value is unknown."""
        if self.bigram_sum is None or not np.isfinite(self.bigram_sum).all():
            return None
        return replace(self, loss_sum=self.bigram_sum, floor_sum=None, bigram_sum=None)

    def below_bigram(self) -> "Losses | None":
        """What the losses are below the table's, as `bigram`."""
        table = self.bigram()
        return table and replace(table, loss_sum=table.loss_sum - self.loss_sum)

    def over_seeds(self) -> "Losses":
        """The mean over the seeds, as losses of one seed: they are taken as fixed."""
        mean = self.loss_sum.mean(axis=0, keepdims=True)
        return replace(self._taken([0]), loss_sum=mean, floor_sum=None, bigram_sum=None)

    def bits_per_byte(self) -> Float[np.ndarray, " A"]:
        """Of all seeds' text; NaN where no bytes are known."""
        bits = np.full(len(self.lengths), np.nan)
        for a in range(len(self.lengths)):
            n_bytes = 0.0 if self.n_bytes is None else self.n_bytes[:, a].sum()
            if n_bytes:
                bits[a] = self.loss_sum[:, a].sum() / np.log(2) / n_bytes
        return bits

    def paired(self) -> Paired:
        """The losses themselves. DataError where the seeds scored other targets."""
        return Paired(self.loss_sum, _of_all_seeds(self.n_tokens))

    def minus(self, other: "Losses") -> Paired:
        """Differences on the same documents, row s of both from the same seed.

        `other` may have one seed for all (a floor) and one length for all (a reference). DataError
        where seeds or targets differ. Documents without a scored token are left out; a length with
        a loss that is not finite is NaN.
        """
        if len(other.seeds) > 1 and self.seeds != other.seeds:
            raise DataError(
                f"seeds {self.seeds} are compared with {other.seeds}; expected the same seeds"
            )
        documents = self.documents
        if documents != other.documents:
            documents = tuple(sorted({*self.documents, *other.documents}))
        (loss, tokens), (reference, reference_tokens) = (
            each._over(documents) for each in (self, other)
        )
        counted, counted_there = _of_all_seeds(tokens), _of_all_seeds(reference_tokens)
        if len(counted_there) == 1:
            reference = np.broadcast_to(reference, (len(reference), *loss.shape[1:]))
            counted_there = np.broadcast_to(counted_there, counted.shape)
        require_same_targets(counted, counted_there)
        finite = np.isfinite(loss).all(axis=(0, 2)) & np.isfinite(reference).all(axis=(0, 2))
        usable = [
            np.where(finite[:, None], sums, np.nan)
            for sums in (loss, over_seeds(reference, len(loss)))
        ]
        # A document that nobody scored would count as one without a difference.
        scored = (counted > 0).any(axis=0)
        return Paired((usable[0] - usable[1])[:, :, scored], counted[:, scored])

    def means(self) -> Means:
        """The mean loss at each length, of the seeds that have one there.

        DataError where they scored other targets.
        """
        return self._means(None, self._scored)

    def changes(self, length: int) -> Means:
        """Each length minus `length`, paired: of the seeds that have both, on the same targets."""
        reference = self.lengths.index(length)
        both = self._scored & self._scored[:, [reference]]
        equal = (self.n_tokens == self.n_tokens[:, [reference]]).all(axis=2)
        same_targets = both.any(axis=0) & (equal | ~both).all(axis=0)
        return self._means(reference, both & same_targets)

    @property
    def _scored(self) -> np.ndarray:
        """(S, A) bool: has the seed a value at the length?"""
        return self.n_tokens.sum(axis=2) > 0

    def _taken(self, *chosen: Sequence[int] | np.ndarray) -> "Losses":
        """These seeds, lengths and documents: indices or a mask; all where none are given."""
        axes = [np.arange(size) for size in self.loss_sum.shape]
        axes[: len(chosen)] = [axis[mine] for axis, mine in zip(axes, chosen, strict=False)]
        # Copies in C order: the order in memory decides the last bits of a sum.
        index = np.ix_(*axes)
        return Losses(
            self.loss_sum[index],
            self.n_tokens[index],
            tuple(self.seeds[s] for s in axes[0]),
            tuple(self.lengths[a] for a in axes[1]),
            tuple(self.documents[d] for d in axes[2]),
            None if self.floor_sum is None else self.floor_sum[index],
            None if self.n_bytes is None else self.n_bytes[index],
            None if self.bigram_sum is None else self.bigram_sum[index],
        )

    def _over(self, documents: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Sums and token counts over these documents, 0 for those that are not here."""
        if documents == self.documents:
            return self.loss_sum, self.n_tokens
        index = {name: place for place, name in enumerate(documents)}
        place = [index[name] for name in self.documents]
        sums, tokens = np.zeros((2, *self.loss_sum.shape[:2], len(documents)))
        sums[..., place], tokens[..., place] = self.loss_sum, self.n_tokens
        return sums, tokens

    def _means(self, reference: int | None, wanted: np.ndarray) -> Means:
        """Lengths that the same seeds have are estimated together. wanted: (S, A) bool."""
        means = Means(*np.full((3, len(self.lengths)), np.nan))
        for seeds in np.unique(wanted.T, axis=0):
            columns = np.flatnonzero((seeds == wanted.T).all(axis=1))
            if not seeds.any():
                continue
            part = self._student(np.flatnonzero(seeds), columns, reference)
            means.value[columns], means.low[columns] = part.value, part.low
            means.high[columns] = part.high
        return means

    def _student(self, rows: np.ndarray, columns: np.ndarray, reference: int | None) -> Means:
        # scipy, which Student's quantiles need, is loaded here: `lengthgen plot` starts without it.
        from lengthgen.statistics import comparisons

        part = self._taken(rows, columns)
        if reference is None:
            baseline = replace(part, loss_sum=np.zeros_like(part.loss_sum))
        else:
            baseline = self._taken(rows, [reference])
        estimate = comparisons.estimate(part.minus(baseline))
        return Means(estimate.value, estimate.low, estimate.high)


def common_seeds(*tables: Losses) -> list[int]:
    """The seeds that all of them have."""
    return sorted(set.intersection(*(set(table.seeds) for table in tables)))


def _known(rows: "pd.DataFrame", column: str) -> bool:
    """Has any row a value? Older tables lack the column."""
    return column in rows and bool(rows[column].notna().any())


def _of_all_seeds(n_tokens: np.ndarray) -> np.ndarray:
    """(S, A, D) -> (A, D), which must be the same for all seeds."""
    n_tokens = np.asarray(n_tokens, np.float64)
    require_same_targets(*np.broadcast_arrays(n_tokens, n_tokens[:1]))
    return n_tokens[0]
