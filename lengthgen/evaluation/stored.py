"""Per-token losses of a finished evaluation, read back from its losses.npz with the place of every target. Knows no torch.

Shape letters: W windows, P scored positions. Losses in nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lengthgen.errors import DataError
from lengthgen.statistics import comparisons
from lengthgen.statistics.comparisons import Estimate, Paired


@dataclass(frozen=True)
class Stored:
    """losses: (W, P). document, start: (W,), the window; place: (W, P), the index of each target in its document."""

    losses: np.ndarray
    document: np.ndarray
    start: np.ndarray
    place: np.ndarray

    def same_targets(self, other: "Stored") -> bool:
        """Are row and column the same token of the same document in both?"""
        return np.array_equal(self.document, other.document) and np.array_equal(
            self.place, other.place
        )


def read(evaluation: Path, protocol: str, eval_length: int) -> Stored:
    """The losses that an evaluation folder holds of one protocol at one length. DataError where it holds none."""
    try:
        with np.load(evaluation / "losses.npz") as arrays:
            there = {name.rpartition("/")[0] for name in arrays.files}
            key = f"{protocol}/{eval_length}"
            if key not in there:
                raise DataError(
                    f"{evaluation} has no losses of {protocol} at {eval_length}; it has {', '.join(sorted(there)) or 'none'}"
                )
            losses, document, start, first = (
                arrays[f"{key}/{name}"] for name in ("losses", "document", "start", "first")
            )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"cannot read {evaluation / 'losses.npz'}: {error}; evaluate the run again"
        ) from error
    return Stored(
        losses, document, start, (start + first + 1)[:, None] + np.arange(losses.shape[1])
    )


def lengths(evaluation: Path, protocol: str) -> list[int]:
    """The lengths at which an evaluation folder holds losses of a protocol, rising."""
    with np.load(evaluation / "losses.npz") as arrays:
        names = [name.split("/") for name in arrays.files]
    return sorted({int(length) for found, length, _ in names if found == protocol})


def mean_by_document(
    values: Sequence[np.ndarray], document: np.ndarray, chosen: np.ndarray
) -> Estimate:
    """The mean of the chosen values with its interval over documents and, of several seeds, over these too (comparisons.py).

    values: (W, P) of each seed, on the same targets; document: (W,); chosen: (W, P) bool. One column.
    """
    _, index = np.unique(document, return_inverse=True)
    sums = [
        np.bincount(index, weights=np.where(chosen, one, 0.0).sum(axis=1, dtype=np.float64))
        for one in values
    ]
    tokens = np.bincount(index, weights=chosen.sum(axis=1))
    there = tokens > 0
    return comparisons.estimate(Paired(np.stack(sums)[:, None, there], tokens[None, there]))
