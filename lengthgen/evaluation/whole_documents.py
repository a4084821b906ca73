"""Windows that are whole documents, for data whose documents say something only as a whole (Splits.whole_documents).

At every length L' the documents of L' + 1 tokens are read from their first token to their last, and every position is scored, or, of data
with answers, these alone. Lengths thus have other documents and other targets: they compare by their excess over the floor, or by exact
match (exact_match.py), not token by token. It is the only protocol for such data: a window cut from a longer document would be a document
of another kind.
"""

from collections.abc import Sequence

import numpy as np

from lengthgen.errors import DataError
from lengthgen.evaluation.planners import Request, Window


def plan(sizes: np.ndarray, lengths: Sequence[int], documents: int) -> list[Request]:
    """One request a length, of at most `documents` windows. `sizes`: tokens in each document. DataError for a length without documents."""
    requests = []
    for length in lengths:
        whole = np.flatnonzero(sizes == length + 1)[:documents]
        if not len(whole):
            there = ", ".join(str(size - 1) for size in np.unique(sizes))
            raise DataError(
                f"evaluation length {length} needs validation documents of exactly {length + 1} tokens; there are some for {there}: "
                "give these in evaluation.lengths, or more in dataset.lengths"
            )
        requests.append(
            Request(
                "whole",
                int(length),
                tuple(Window(int(index), 0, int(length), 0) for index in whole),
            )
        )
    return requests
