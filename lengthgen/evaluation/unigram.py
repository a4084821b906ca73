"""What any model must beat: a table of token frequencies."""

import numpy as np

from lengthgen.data.splits import Splits
from lengthgen.data.tokens import TokenStore
from lengthgen.evaluation import context_of_targets
from lengthgen.evaluation.scoring import Scored


def loss(splits: Splits, scored: list[Scored]) -> float | None:
    """Loss in nats, on the matched targets, of the training split's token frequencies (add one)."""
    targets = _matched_targets(splits.validation, scored)
    return None if targets is None else loss_of(splits, targets)


def loss_of(splits: Splits, targets: np.ndarray) -> float:
    """The same on any targets (N,) int."""
    train, at_once = splits.train, 2**24  # a large corpus is counted a part at a time
    counts = np.ones(splits.vocab_size)  # add one: a validation token may be new
    for first in range(0, train.n_tokens, at_once):
        part = train.tokens(first, min(first + at_once, train.n_tokens)).numpy()
        counts += np.bincount(part, minlength=splits.vocab_size)
    return float(-np.log(counts / counts.sum())[targets].mean())


def _matched_targets(store: TokenStore, scored: list[Scored]) -> np.ndarray | None:
    matched = [s.request for s in scored if s.request.protocol == "matched"]
    if not matched:
        return None
    windows = matched[0].windows
    return np.concatenate([context_of_targets.targets(store, window) for window in windows])
