"""Training batches: batch k of a run depends on store, seed, k and length alone.

Window starts come from the raw 64-bit stream of Philox4x64 (Salmon et al., SC 2011), keyed by
(seed, step); NumPy keeps that stream stable over versions, unlike its distributions. There is no
loader state to save for a resumed run.

Shape letters: B sequences, T tokens.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lengthgen.data.tokens import TokenStore
from lengthgen.errors import DataError

ALL = slice(None)
UNSCORED = -100  # a target that no loss counts: PyTorch's cross entropy gives 0


def crops(
    store: TokenStore,
    *,
    seed: int,
    step: int,
    batch_size: int,
    length: int,
    cross_documents: bool,
    rows: slice = ALL,
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Inputs and targets, (batch_size, length) int64, on the stream's device; targets are inputs
    one token later.

    cross_documents: windows start anywhere in the stream; otherwise anywhere, uniformly, that keeps
    all length + 1 tokens in one document. rows: of the batch, for a rank that computes these alone.
    Raises DataError when no window fits.
    """
    n_starts = count_starts(store, length, cross_documents)
    if n_starts == 0:
        raise DataError(_nothing_fits(store, length, cross_documents))
    generator = np.random.Philox(key=np.array([seed, step], dtype=np.uint64))
    # the remainder's bias is below n_starts / 2**64
    picks = (generator.random_raw(batch_size)[rows] % np.uint64(n_starts)).astype(np.int64)
    starts = picks if cross_documents else _inside_documents(store, length, picks)
    places = torch.from_numpy(starts)
    if store.stream.is_cuda:
        places = sent(places, store.stream.device)
    places = places[:, None]
    # Only the chosen windows are read from a mapped file.
    tokens = store.widen(store.stream[places + torch.arange(length + 1, device=places.device)])
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def sent(x: Tensor, device: torch.device) -> Tensor:
    """`x` on the device. From pinned memory, for which the host does not wait."""
    if x.device.type == device.type:
        return x
    return x.pin_memory().to(device, non_blocking=True)


def count_starts(store: TokenStore, length: int, cross_documents: bool) -> int:
    """How many different windows of length + 1 tokens there are to draw from."""
    return max(store.n_tokens - length, 0) if cross_documents else int(store.starts(length)[-1])


def only_answers(
    targets: Int[Tensor, "B T"], answers: Callable[[np.ndarray], np.ndarray]
) -> Int[Tensor, "B T"]:
    """Targets of whole documents, UNSCORED where they are no answers."""
    scored = torch.from_numpy(answers(targets.cpu().numpy())).to(targets.device)
    return targets.masked_fill(~scored, UNSCORED)


def n_scored(targets: Int[Tensor, "..."]) -> Int[Tensor, ""]:
    """How many targets a loss counts, on their device."""
    return (targets != UNSCORED).sum()


def whole(
    store: TokenStore, length: int, count: int
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Inputs and targets: the first documents of exactly length + 1 tokens, at most `count`.

    DataError if there are none.
    """
    documents = np.flatnonzero(store.lengths == length + 1)[:count]
    if not len(documents):
        among = f"among {store.n_documents}; expected at least one"
        raise DataError(f"no document of exactly {length + 1} tokens {among}")
    tokens = torch.stack([store.document(int(index)) for index in documents])
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def _inside_documents(
    store: TokenStore, length: int, picks: Int[np.ndarray, " B"]
) -> Int[np.ndarray, " B"]:
    """Numbers of starts that keep their window in one document -> places in the stream."""
    added = store.starts(length)
    documents = np.searchsorted(added, picks, side="right")
    before = np.where(documents > 0, added[documents - 1], 0)
    return store.offsets[documents] + picks - before


def _nothing_fits(store: TokenStore, length: int, cross_documents: bool) -> str:
    if cross_documents:
        return (
            f"train_length={length} needs {length + 1} tokens; the split has {store.n_tokens} in "
            f"{store.n_documents} documents: choose a shorter train_length or more text"
        )
    return (
        f"train_length={length} within documents needs one of {length + 1} tokens; the longest of "
        f"{store.n_documents} has {int(store.lengths.max())}: "
        "choose a shorter train_length or cross_documents=true"
    )
