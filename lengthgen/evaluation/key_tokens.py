"""The loss on tokens that long context decides: does a model know what only the far text tells?

Most tokens are predicted as well from the last few words, so a mean over all of them hardly moves
with the use of context. A key token is one for which a reference model has a much lower loss with
long context than with a short one, and then a low one:

    l_short(t) - l_long(t) > alpha  and  l_long(t) < alpha,  alpha = 2 nats

with L' tokens of context (long) and L' / 4 (short), both of the matched protocol, so that t is the
same token in both. `table` gives a model's mean loss on the reference's key tokens at every length.
The reference has to be another run (a model does well on the key tokens that it chose itself), at
best one trained at L'. The loss of one run at two lengths says whether it gets these tokens from
the farther context.

Source: the idea and both thresholds of LongPPL, Fang et al., ICLR 2025 (arXiv 2410.23771), there
with a short context of 4,096 tokens, large models and tokens of several bytes. On bytes, small
models trained at 512 had at most 43 key tokens of 11,904 at 1,024 and 2,048 tokens, and those that
fail beyond 512 the most: such a model cannot be the reference.

Shape letters: W windows, P scored positions. Losses in nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lengthgen.errors import DataError
from lengthgen.evaluation import stored
from lengthgen.evaluation.stored import Stored
from lengthgen.statistics import comparisons

ALPHA = 2.0  # nats
SHORTER = 4  # times: the short context of the reference
FEWEST = 500  # key tokens that a mean is given for
PROTOCOL = "matched"
# A row of `table`. loss, low, high: nats a key token and its 95 % interval over documents; None
# where the status is refused.
COLUMNS = (
    "run", "eval_length", "reference", "reference_length", "n_key_tokens", "n_tokens",
    "n_documents", "loss", "low", "high", "status", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class KeyMask:
    """mask: (W, P), which targets of `targets` are key tokens.

    reason: why no mean may be given; empty if one may.
    """

    mask: np.ndarray
    targets: Stored
    reason: str

    @property
    def n(self) -> int:
        return int(self.mask.sum())


def mask(short: np.ndarray, long: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """(W, P) bool, from the reference's losses with short and long context on the same targets."""
    return (short - long > alpha) & (long < alpha)


def of_reference(evaluation: Path, eval_length: int, alpha: float = ALPHA) -> KeyMask:
    """The key tokens by the reference's evaluation; DataError without losses at a quarter of it."""
    long = stored.read(evaluation, PROTOCOL, eval_length)
    quarter, rest = divmod(eval_length, SHORTER)
    if rest:
        raise DataError(
            f"key tokens at {eval_length} tokens need losses at a quarter of that; "
            f"expected a multiple of {SHORTER}"
        )
    short = stored.read(evaluation, PROTOCOL, quarter)
    if not short.same_targets(long):
        raise DataError(
            f"{evaluation}: {quarter} and {eval_length} tokens were not scored on the same targets"
        )
    chosen, reason = mask(short.losses, long.losses, alpha), ""
    if chosen.sum() < FEWEST:
        reason = (
            f"{int(chosen.sum())} key tokens of {chosen.size}; expected at least {FEWEST}: "
            "evaluate more documents, or longer texts"
        )
    return KeyMask(chosen, long, reason)


def table(
    reference: Path, evaluations: Sequence[Path], eval_length: int, alpha: float = ALPHA
) -> list[dict]:
    """Rows with COLUMNS: each run's loss on the reference's key tokens, at each of its lengths.

    reference, evaluations: evaluation folders of runs on the same data with the same settings.
    """
    key = of_reference(reference, eval_length, alpha)
    about = _run(reference), eval_length, key.n, key.mask.size
    rows = (
        (_run(evaluation), length, *about, *_measured(key, evaluation, length, reference))
        for evaluation in evaluations
        for length in stored.lengths(evaluation, PROTOCOL)
    )
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def _measured(key: KeyMask, evaluation: Path, eval_length: int, reference: Path) -> tuple:
    """n_documents and the columns after it."""
    tested = stored.read(evaluation, PROTOCOL, eval_length)
    reason = key.reason
    if _run(evaluation) == _run(reference):
        reason = "the reference itself: its key tokens are those that it did well on"
    elif not tested.same_targets(key.targets):
        reason = (
            "it was evaluated on other tokens than the reference; "
            "give evaluations of the same data with the same settings"
        )
    elif not np.isfinite(tested.losses[key.mask]).all():
        reason = "some losses on the key tokens are not finite"
    if reason:
        return 0, None, None, None, "refused", reason
    estimate = comparisons.estimate(tested.by_document([tested.losses], key.mask).paired())
    numbers = estimate.n_documents, estimate.value, estimate.low, estimate.high
    return *(each.item() for each in numbers), "ok", ""


def _run(evaluation: Path) -> str:
    return Path(evaluation).resolve().parent.parent.name  # runs/RUN/evaluation/ID
