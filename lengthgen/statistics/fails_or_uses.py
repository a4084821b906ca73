"""Does a model fail beyond its training length, tolerate the longer input, or use it?

From losses on the same targets. L: training length, L': evaluation length, NLL(L'): mean loss with
L' tokens of context.
    failure      F(L') = NLL(L') - NLL(L)
    use          U(L') = NLL_window(L) - NLL(L'): the same model confined to L tokens, by fresh
                 windows of L (the matched protocol at L: U = -F) or by a hard window of L in every
                 layer, which leaves the positions as they are
    utilisation  u(L') = U(L') / U_ref(L'), U_ref of a model trained at L' or of an exact floor:
                 1 uses all, 0 none, < 0 is harmed

A model that has learned nothing loses nothing by longer input, and so does one that does not use
its positions. So what holds at L comes first:
    competence   NLL_bigram(L) - NLL(L): below a table that knows the token before (bigram.py)
    in use       NLL_none(L) - NLL(L): below the same model without positions, of the same seeds,
                 or, where none was trained, below itself with its positions shuffled (shuffled.py)

| word | rule, 95 % intervals; the first that holds |
|---|---|
| untrained | the competence's lower bound is not above 0 |
| positions not in use | the lower bound of `in use` is below IN_USE; not asked of `none` itself |
| fails | F's lower bound is above delta |
| uses | F's upper bound is below delta, every U's lower bound is at least the smallest gain |
| tolerates | F's upper bound is below delta, and some U's upper bound is below the smallest gain |
| undecided | else |

Where a bound is not known, or with fewer than FEWEST documents, the word is `undecided`. `uses`
needs several bounds at once: no correction is due (intersection-union test, Berger 1982). A plot of
loss against length cannot tell `uses` from `tolerates`.

Sources: Sun et al. 2021 (arXiv 2109.09115); Chi et al. 2022 (arXiv 2212.10356: a bias that acts as
a window); Fieller 1954 (JRSS B 16: the interval of a ratio).

Shape letters: A evaluation lengths. Losses in nats.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lengthgen.statistics import comparisons, variance
from lengthgen.statistics.comparisons import Estimate
from lengthgen.statistics.documents import FEWEST
from lengthgen.statistics.paired import Paired
from lengthgen.statistics.thresholds import DELTA, IN_USE, SMALLEST_GAIN

STEP = 8  # positions on each side of the training length, of the jump there
DOUBLINGS = 60


@dataclass(frozen=True)
class Gate:
    """Can a corpus show the use of context at each length, (A,) bool; and why not, A texts."""

    passed: np.ndarray
    reasons: list[str]


def classify(
    failures: Estimate,
    uses: Sequence[Estimate],
    *,
    competence: Estimate | None = None,
    in_use: Estimate | None = None,
    delta: float = DELTA,
    gain: float = SMALLEST_GAIN,
) -> list[str]:
    """A word for each length. uses: U against every window.

    competence, in_use: (1,), what holds at the training length; None where it was not measured.
    """
    if not uses:
        raise ValueError("classify got no U; expected at least one window of the training length")
    low = np.stack([u.low for u in uses]).min(axis=0)
    high = np.stack([u.high for u in uses]).min(axis=0)
    holds = failures.high < delta
    words = [("undecided", np.isnan(failures.low) | (failures.n_documents < FEWEST))]
    unmet: tuple[tuple[Estimate | None, str, Callable[[np.ndarray], np.ndarray]], ...] = (
        (competence, "untrained", lambda low: low <= 0),
        (in_use, "positions not in use", lambda low: low < IN_USE),
    )
    for estimate, word, missed in unmet:
        if estimate is not None:
            bound = np.broadcast_to(estimate.low, holds.shape)
            words += [("undecided", np.isnan(bound)), (word, missed(bound))]
    words += [
        ("fails", failures.low > delta),
        ("uses", holds & (low >= gain)),
        ("tolerates", holds & (high < gain)),
    ]
    return np.select([rule for _, rule in words], [word for word, _ in words], "undecided").tolist()


def gate(
    reference: Estimate,
    smallest: float = SMALLEST_GAIN,
    name: str = "a model trained at this length",
) -> Gate:
    """Can this corpus show the use of longer context? reference: U of `name`, trained there.

    Refused unless the lower bound of the reference's gain reaches `smallest`: where a model that
    could use the context gains nothing by it, every window looks perfect.
    """
    passed = reference.low >= smallest
    reasons = [
        ""
        if good
        else f"{name} gains {value:.4f} nats [{low:.4f}, {high:.4f}]; "
        f"a claim needs at least {smallest} with 95 % confidence"
        for good, value, low, high in zip(
            passed, reference.value, reference.low, reference.high, strict=True
        )
    ]
    return Gate(passed, reasons)


def utilisation(gain: Paired, reference: Paired) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(u, low, high), each (A,): U / U_ref, and the ratios r where U - r U_ref may be 0.

    `reference` has the seeds of `gain`, or one row (an exact floor). NaN where the 95 % interval of
    U_ref reaches 0: no ratio is known there.
    """
    known = comparisons.estimate(reference).low > 0
    value = np.divide(
        gain.value, reference.value, out=np.full_like(gain.value, np.nan), where=known
    )

    def beyond(ratio: np.ndarray) -> np.ndarray:
        difference = comparisons.estimate(gain.minus(reference, ratio))
        return np.maximum(difference.low, -difference.high)  # above 0: the ratio is rejected

    return value, _crossing(beyond, value, -1.0), _crossing(beyond, value, 1.0)


def _crossing(
    beyond: Callable[[np.ndarray], np.ndarray], start: np.ndarray, side: float
) -> np.ndarray:
    """(A,): the first point from `start` towards `side` where `beyond` is above 0.

    NaN without one.
    """
    # Fieller's set may be unbounded: the search doubles its reach until every column has crossed.
    reach = np.full_like(start, 1e-3)
    for _ in range(DOUBLINGS):
        inside = beyond(start + side * reach) <= 0
        if not inside.any():
            break
        reach = np.where(inside, 2 * reach, reach)
    way = variance.bisect(lambda way: beyond(start + side * way), 0.0, reach, len(start))
    return np.where(np.isnan(start) | inside, np.nan, start + side * way)
