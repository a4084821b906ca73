"""Training batches: batch k of a run is a pure function of (store, seed, k, length), whatever the scheme, device or history.

Window starts come from the raw 64-bit stream of Philox4x64 (Salmon et al., SC 2011), keyed by (seed, step); NumPy keeps
that stream stable over versions, unlike its distributions. There is no loader state to save, so a resumed run sees the
batches that it would have seen. Shape letters: B sequences on this rank, T tokens.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lengthgen.data.tokens import TokenStore
from lengthgen.errors import ConfigError, DataError

UNSCORED = -100  # stands for a target that no loss counts; PyTorch's cross entropy gives 0 for it


def crops(
    store: TokenStore,
    *,
    seed: int,
    step: int,
    batch_size: int,
    length: int,
    cross_documents: bool,
    rank: int = 0,
    world_size: int = 1,
) -> tuple[Tensor, Tensor]:
    """Inputs and targets, each (batch_size / world_size, length) int64; targets are inputs one token later.

    `batch_size` counts the sequences of all ranks; rank r gets the r-th consecutive part, so the parts put together are
    the batch of one rank. `cross_documents`: windows start anywhere in the stream; otherwise anywhere that keeps all
    length + 1 tokens in one document (uniform over such starts; shorter documents take no part).
    Raises DataError when no window fits, ConfigError when the ranks do not divide the batch.
    """
    if batch_size % world_size:
        raise ConfigError(
            f"batch_size={batch_size} on {world_size} processes: expected a multiple of {world_size}"
        )
    n_starts = count_starts(store, length, cross_documents)
    if n_starts == 0:
        raise DataError(_nothing_fits(store, length, cross_documents))
    share = batch_size // world_size
    generator = np.random.Philox(key=np.array([seed, step], dtype=np.uint64))
    # the remainder's bias is below n_starts / 2**64
    picks = (
        generator.random_raw(batch_size)[rank * share : (rank + 1) * share] % np.uint64(n_starts)
    ).astype(np.int64)
    starts = picks if cross_documents else _inside_documents(store, length, picks)
    windows = store.stream.unfold(0, length + 1, 1)
    tokens = store.widen(windows.index_select(0, torch.from_numpy(starts).to(windows.device)))
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def count_starts(store: TokenStore, length: int, cross_documents: bool) -> int:
    """How many different windows of length + 1 tokens there are to draw from."""
    return max(store.n_tokens - length, 0) if cross_documents else int(store.starts(length)[-1])


def only_answers(targets: Tensor, answers: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """The targets (B, T) of windows that are whole documents, so their symbols, with UNSCORED for those that are no answers."""
    return targets.masked_fill(
        ~torch.from_numpy(answers(targets.cpu().numpy())).to(targets.device), UNSCORED
    )


def n_scored(targets: Tensor) -> int:
    """How many targets a loss counts."""
    return int((targets != UNSCORED).sum())


def whole(store: TokenStore, length: int, count: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets, (at most count, length) each: the first documents of exactly length + 1 tokens. DataError if there are none."""
    found = np.flatnonzero(store.lengths == length + 1)[:count]
    if not len(found):
        raise DataError(
            f"no document of exactly {length + 1} tokens among {store.n_documents}; expected at least one"
        )
    tokens = torch.stack([store.document(int(index)) for index in found])
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def _inside_documents(store: TokenStore, length: int, picks: np.ndarray) -> np.ndarray:
    """The pick-th start that keeps its window in one document -> its place in the stream."""
    added = store.starts(length)
    documents = np.searchsorted(added, picks, side="right")
    before = np.where(documents > 0, added[documents - 1], 0)
    return store.offsets[documents] + picks - before


def _nothing_fits(store: TokenStore, length: int, cross_documents: bool) -> str:
    if cross_documents:
        return (
            f"train_length={length} needs {length + 1} tokens; the split has {store.n_tokens} in {store.n_documents} documents: "
            "choose a shorter train_length or more text"
        )
    return (
        f"train_length={length} within documents needs one of {length + 1} tokens; the longest of {store.n_documents} has "
        f"{int(store.lengths.max())}: choose a shorter train_length or cross_documents=true"
    )
