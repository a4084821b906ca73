"""One scored request, added up by document: what every table of an evaluation is made of.

Shape letters: D documents, W windows, P scored positions.
"""

import numpy as np

from lengthgen.data.splits import Splits
from lengthgen.data.tokens import TokenStore
from lengthgen.evaluation import context_of_targets, exact_match, floors
from lengthgen.evaluation.planners import Window
from lengthgen.evaluation.scoring import Scored


class Summed:
    """A scored request with its losses, tokens and text bytes added up by document, and its exact floors or hits, if it has any.

    status and reason: those of the scoring, unless the losses lie below their floor. A reason with the status ok is a warning.
    """

    def __init__(
        self, scored: Scored, splits: Splits, known: dict[tuple[int, int], np.ndarray], block: int
    ):
        self.scored, store = scored, splits.validation
        windows = scored.request.windows
        self.documents, self.index = np.unique(
            [window.document for window in windows], return_inverse=True
        )
        self.names = [store.names[document] for document in self.documents]
        self.per_window = windows[0].stop - windows[0].first
        self.answers = exact_match.answers_of(
            scored.request, splits
        )  # (W, P) bool; None: every target is scored
        where = [None] * len(windows) if self.answers is None else self.answers
        n_bytes = [
            _bytes(store, window, answers) for window, answers in zip(windows, where, strict=True)
        ]
        self.n_tokens = np.bincount(self.index) * self.per_window
        self.n_bytes = np.bincount(self.index, weights=n_bytes).astype(np.int64)
        self.usable = scored.status == "ok"
        if self.answers is not None:
            self.n_tokens = self._by_document(self.answers).astype(np.int64)
        self.loss_sum = (
            self._by_document(
                scored.losses if self.answers is None else scored.losses * self.answers
            )
            if self.usable
            else None
        )
        self.floors = (
            floors.of_request(scored.request, splits.floors, known)
            if self.usable and splits.floors
            else None
        )
        self.shares = context_of_targets.shares(scored.request, store.lengths, block, self.answers)
        self.status, self.reason = (
            scored.status,
            scored.reason or context_of_targets.fault(scored.request, self.shares["full_context"]),
        )
        if self.floors is not None:
            self.excess = scored.losses.astype(np.float64) - self.floors
            self.excess_sum = self._by_document(self.excess)
            if reason := floors.leak(self.excess_sum, self.n_tokens):
                self.status, self.reason = floors.LEAK, reason

    def _by_document(self, values: np.ndarray) -> np.ndarray:
        """(W, P) -> (D,)"""
        return np.bincount(self.index, weights=values.sum(axis=1, dtype=np.float64))


def _bytes(store: TokenStore, window: Window, answers: np.ndarray | None) -> int:
    """Bytes of text that the window's targets stand for, or those of them that are answers."""
    start = int(store.offsets[window.document]) + window.start
    sizes = store.token_bytes[
        store.tokens(start + window.first + 1, start + window.stop + 1).numpy()
    ]
    return int(sizes.sum() if answers is None else sizes[answers].sum())
