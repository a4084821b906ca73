"""Per-token losses of a finished evaluation, read back from its losses.npz. Knows no torch.

Shape letters: W windows, P scored positions, S seeds, D documents. Losses in nats.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lengthgen.errors import DataError
from lengthgen.statistics.losses import Losses

WINDOW = ("document", "start", "first")


@dataclass(frozen=True)
class Stored:
    """One protocol at one length. losses, floors and bigram (None where there are none): (W, P).

    bigram: the losses of a bigram table (bigram.py). document, start, first: (W,), a window's
    document, its place there, its first scored position.
    """

    eval_length: int
    losses: np.ndarray
    document: np.ndarray
    start: np.ndarray
    first: np.ndarray
    floors: np.ndarray | None = None
    bigram: np.ndarray | None = None

    @property
    def place(self) -> np.ndarray:
        """(W, P): the index of each target in its document."""
        begin = self.start + self.first + 1
        return begin[:, None] + np.arange(self.losses.shape[1])

    @property
    def excess(self) -> np.ndarray:
        if self.floors is None:
            raise DataError(
                "these data have no exact floor, so that no excess over it is known; "
                "expected a synthetic dataset"
            )
        return self.losses - self.floors

    def same_targets(self, other: "Stored") -> bool:
        """Are row and column the same token of the same document in both?"""
        return np.array_equal(self.document, other.document) and np.array_equal(
            self.place, other.place
        )

    def by_document(
        self,
        values: Sequence[np.ndarray],
        scored: np.ndarray | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Losses:
        """The values (W, P) of each seed, added up by document.

        scored: (W, P) bool, which of them count. Documents without any are left out.
        """
        names, index = np.unique(self.document, return_inverse=True)
        if scored is None:
            scored = np.ones(values[0].shape, bool)
        tokens = np.bincount(index, weights=scored.sum(axis=1))
        there = tokens > 0
        sums = [
            np.bincount(index, weights=np.where(scored, one, 0.0).sum(axis=1, dtype=np.float64))
            for one in values
        ]
        loss_sum = np.stack([one[there] for one in sums])[:, None]
        return Losses(
            loss_sum,
            np.broadcast_to(tokens[there], loss_sum.shape),
            tuple(range(len(sums)) if seeds is None else seeds),
            (self.eval_length,),
            tuple(str(name) for name in names[there].tolist()),
        )


def read(evaluation: Path, protocol: str, eval_length: int) -> Stored:
    """The losses that an evaluation folder holds of one protocol at one length, or DataError."""
    with _arrays(evaluation) as arrays:
        held, key = _held(arrays), f"{protocol}/{eval_length}"
        if key not in held:
            raise DataError(
                f"{evaluation} has no losses of {protocol} at {eval_length}; "
                f"it has {', '.join(sorted(held)) or 'none'}"
            )
        floors, bigram = (arrays.get(f"{key}/{name}") for name in ("floors", "bigram"))
        named = {name: arrays[f"{key}/{name}"] for name in ("losses", *WINDOW)}
        return Stored(eval_length, **named, floors=floors, bigram=bigram)


def lengths(evaluation: Path, protocol: str) -> list[int]:
    """The lengths at which an evaluation folder holds losses of a protocol, rising."""
    with _arrays(evaluation) as arrays:
        keys = (key.split("/") for key in _held(arrays))
        return sorted(int(length) for name, length in keys if name == protocol)


def targets(evaluation: Path, protocol: str, eval_length: int) -> list[tuple[int, int, int]]:
    """(document, first target, the place after the last) of every window, sorted."""
    with _arrays(evaluation) as arrays:
        document, start, first = (
            arrays[f"{protocol}/{eval_length}/{name}"].astype(np.int64) for name in WINDOW
        )
    ends = (document, start + first + 1, start + eval_length + 1)
    return sorted(zip(*(values.tolist() for values in ends), strict=True))


@contextmanager
def _arrays(evaluation: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """losses.npz, of which only what is asked for is read. DataError if it cannot be read."""
    path = evaluation / "losses.npz"
    try:
        with np.load(path) as arrays:
            yield arrays
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}; evaluate the run again") from error


def _held(arrays: Mapping[str, np.ndarray]) -> set[str]:
    """PROTOCOL/LENGTH of all that is there."""
    return {name.rpartition("/")[0] for name in arrays}
