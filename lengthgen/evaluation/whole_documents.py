"""Windows that are whole documents, for data that mean something only as a whole.

At every length L' the documents of L' + 1 tokens are read whole, and every position is scored, or,
where data have answers, those alone. Each length has its own documents: lengths compare by their
excess over the floor or by exact match (exact_match.py), not token by token. Such data have no
other protocol (Splits.whole_documents): a window cut from a longer document would be a document of
another kind.
"""

from collections.abc import Sequence

import numpy as np

from lengthgen.errors import DataError
from lengthgen.evaluation.planners import Request, Window


def plan(sizes: np.ndarray, lengths: Sequence[int], documents: int) -> list[Request]:
    """One request per length, of at most `documents` windows. sizes: tokens per document.

    DataError for a length without documents.
    """
    requests = []
    for length in lengths:
        whole = np.flatnonzero(sizes == length + 1)[:documents]
        if not len(whole):
            known = ", ".join(str(size - 1) for size in np.unique(sizes))
            raise DataError(
                f"evaluation length {length} needs validation documents of exactly {length + 1} "
                f"tokens; there are some for {known}: give these in evaluation.lengths, or more in "
                "dataset.lengths"
            )
        windows = tuple(Window(int(document), 0, int(length), 0) for document in whole)
        requests.append(Request("whole", int(length), windows))
    return requests
