"""A table of token frequencies: what a training that has begun to learn is below."""

import numpy as np

from lengthgen.data.splits import Splits


def loss_of(splits: Splits, targets: np.ndarray) -> float:
    """Nats a token of the training split's token frequencies (add one) on targets (N,) int."""
    train, at_once = splits.train, 2**24  # a large corpus is counted a part at a time
    counts = np.ones(splits.vocab_size)  # add one: a validation token may be new
    for first in range(0, train.n_tokens, at_once):
        part = train.tokens(first, min(first + at_once, train.n_tokens)).numpy()
        counts += np.bincount(part, minlength=splits.vocab_size)
    return float(-np.log(counts / counts.sum())[targets].mean())
