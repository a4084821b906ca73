"""A scored request, added up by document: what every table of an evaluation is made of.

Shape letters: K draws of positions, D documents, W windows, P scored positions. Nats.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lengthgen.data.splits import Splits
from lengthgen.evaluation import bigram, context_of_targets, exact_match, floors
from lengthgen.evaluation.scoring import Scored


@dataclass(frozen=True)
class Excess:
    """The losses of a request above their exact floor. floors, values: (W, P); sums: (D,)."""

    floors: np.ndarray
    values: np.ndarray
    sums: np.ndarray


@dataclass(frozen=True)
class Usable:
    """Finite losses (W, P) of a request. loss_sum: (D,)."""

    losses: np.ndarray
    loss_sum: np.ndarray
    excess: Excess | None


class Summed:
    """Tokens and text bytes of a request by document, and its losses if they are usable.

    status and reason: of the scoring, or a leak; a reason with the status ok is a warning.
    answers: (W, P) bool, the targets that count; None: all.
    """

    def __init__(
        self, scored: Scored, splits: Splits, known: dict[tuple[int, int], np.ndarray], block: int
    ):
        """known: floors by (document, start), kept between requests. block: targets of a window."""
        self.scored, self.request, store = scored, scored.request, splits.validation
        windows = self.request.windows
        self.documents, self.index = np.unique(
            [window.document for window in windows], return_inverse=True
        )
        self.names = [store.names[document] for document in self.documents]
        self.answers = exact_match.answers_of(self.request, splits)
        shape = len(windows), windows[0].stop - windows[0].first
        counted = np.ones(shape, bool) if self.answers is None else self.answers
        n_bytes = [  # of the text that the counted targets of each window stand for
            store.token_bytes[context_of_targets.targets(store, window)][there].sum()
            for window, there in zip(windows, counted, strict=True)
        ]
        self.n_tokens = self._by_document(counted).astype(np.int64)
        self.n_bytes = np.bincount(self.index, weights=n_bytes).astype(np.int64)
        self.shares = context_of_targets.shares(self.request, store.lengths, block, self.answers)
        fault = context_of_targets.fault(self.request, self.shares["full_context"])
        self.status, self.reason = scored.status, scored.reason or fault
        self.pairs = bigram.pairs_of(store, self.request)
        self.usable: Usable | None = None
        if scored.status == "ok" and scored.losses is not None:
            losses = scored.losses
            excess = self._excess(losses, splits, known)
            # Of float32 losses, added up in float64.
            loss_sum = self._by_document(losses if self.answers is None else losses * self.answers)
            self.usable = Usable(losses, loss_sum, excess)

    @property
    def which(self) -> dict[str, Any]:
        return {"protocol": self.request.protocol, "eval_length": self.request.eval_length}

    def _excess(
        self, losses: np.ndarray, splits: Splits, known: dict[tuple[int, int], np.ndarray]
    ) -> Excess | None:
        """None where no exact floor is known. Below it by more than chance is a leak."""
        floor = floors.of_request(self.request, splits.floors, known) if splits.floors else None
        if floor is None:
            return None
        values = losses.astype(np.float64) - floor
        excess = Excess(floor, values, self._by_document(values))
        if reason := floors.leak(excess.sums, self.n_tokens):
            self.status, self.reason = floors.LEAK, reason
        return excess

    def bigram_sum(self, table: bigram.Table) -> np.ndarray:
        """(D,): the loss of the bigram table on the counted targets."""
        losses = table.losses(self.pairs)
        return self._by_document(losses if self.answers is None else losses * self.answers)

    @property
    def counted_pairs(self) -> np.ndarray:
        return self.pairs if self.answers is None else self.pairs[self.answers]

    def _by_document(self, values: np.ndarray) -> np.ndarray:
        """(W, P) -> (D,)"""
        return np.bincount(self.index, weights=values.sum(axis=1, dtype=np.float64))
