"""Does a model fail beyond its training length, tolerate the longer input, or use it? From losses on the same targets.

L: training length, L': evaluation length, NLL(L'): mean loss with L' tokens of context.
    failure      F(L') = NLL(L') - NLL(L)
    use          U(L') = NLL_window(L) - NLL(L'), the window being the same model that sees only L tokens: fresh windows of L (the matched
                 protocol at L: then U = -F) or a hard band mask of L over the long input, which leaves the positions as they are
    utilisation  u(L') = U(L') / U_ref(L'), U_ref from a model trained at L' or from an exact floor: 1 uses all, 0 none, < 0 is harmed
    context curve C(k) = NLL with k tokens of context; effective context k_eps = min{k: C(k) - C(L') <= eps}
    discontinuity J = mean loss at positions L+1..L+8 - mean loss at L-7..L: the step where training stopped

| word | rule, 95 % intervals |
|---|---|
| fails | F's lower bound is above delta |
| uses | F's upper bound is below delta, and every U's lower bound is above 0 |
| tolerates | F's upper bound is below delta, and some U's upper bound is below the smallest gain: to that window it is equal |
| undecided | else |

`uses` needs several bounds at once, each at its own 95 %: no correction is due (intersection-union test, Berger 1982). A plain loss
against length cannot tell `uses` from `tolerates`.

Sources: Sun et al. 2021 (arXiv 2109.09115: context curves); Chi et al. 2022 (arXiv 2212.10356: a bias that acts as a window);
Fieller 1954 (JRSS B 16: the interval of a ratio).

Shape letters: S seeds, A evaluation lengths (or contexts), D documents, T positions of a window. Losses in nats.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lengthgen.statistics import comparisons, variance
from lengthgen.statistics.comparisons import Estimate
from lengthgen.statistics.losses import Paired
from lengthgen.statistics.thresholds import DELTA, SMALLEST_GAIN

STEP = 8  # positions on each side of the training length, of the jump there
DOUBLINGS = 60


@dataclass(frozen=True)
class Gate:
    """Whether a corpus can answer at each length, (A,) bool, and why not, A texts."""

    passed: np.ndarray
    reasons: list[str]


def classify(
    failures: Estimate,
    uses: Sequence[Estimate],
    *,
    delta: float = DELTA,
    gain: float = SMALLEST_GAIN,
) -> list[str]:
    """A word for each of the A lengths, all beyond L: fails | tolerates | uses | undecided. uses: U against every window measured."""
    if not uses:
        raise ValueError("classify got no U; expected at least one window of the training length")
    low, high = (
        np.stack([u.low for u in uses]).min(axis=0),
        np.stack([u.high for u in uses]).min(axis=0),
    )
    holds = failures.high < delta
    words = [
        ("fails", failures.low > delta),
        ("uses", holds & (low > 0)),
        ("tolerates", holds & (high < gain)),
    ]
    return np.select([rule for _, rule in words], [word for word, _ in words], "undecided").tolist()


def gate(
    reference: Estimate,
    smallest: float = SMALLEST_GAIN,
    name: str = "a model trained at this length",
) -> Gate:
    """Can this corpus show the use of longer context? `reference`: U of a model that was trained at the longest length, called `name`.

    Refused unless the lower bound of the reference's gain reaches `smallest`: where a model that could use the context gains
    nothing by it, every window looks perfect.
    """
    passed = reference.low >= smallest
    reasons = [
        ""
        if good
        else f"{name} gains {value:.4f} nats [{low:.4f}, {high:.4f}]; a claim needs {smallest} surely"
        for good, value, low, high in zip(
            passed, reference.value, reference.low, reference.high, strict=True
        )
    ]
    return Gate(passed, reasons)


def utilisation(gain: Paired, reference: Paired) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(u, low, high), each (A,): U / U_ref with its 95 % interval: all ratios r that the test of U - r U_ref = 0 does not reject.

    `reference` has the seeds of `gain`, or one row (an exact floor). NaN where U_ref's own interval reaches 0: no ratio is known there.
    """
    known = comparisons.estimate(reference).low > 0
    value = np.divide(
        gain.value, reference.value, out=np.full_like(gain.value, np.nan), where=known
    )

    def beyond(ratio: np.ndarray) -> np.ndarray:
        found = comparisons.estimate(gain.minus(reference, ratio))
        return np.maximum(found.low, -found.high)  # above 0: the ratio is rejected

    ends = [_crossing(beyond, value, side) for side in (-1.0, 1.0)]
    return value, *ends


def _crossing(
    beyond: Callable[[np.ndarray], np.ndarray], start: np.ndarray, side: float
) -> np.ndarray:
    """(A,): the first point from `start` towards `side` where `beyond` rises above 0. NaN where none is found."""
    reach = np.full_like(start, 1e-3)
    for _ in range(DOUBLINGS):
        inside = beyond(start + side * reach) <= 0
        if not inside.any():
            break
        reach = np.where(inside, 2 * reach, reach)
    found = variance.bisect(lambda way: beyond(start + side * way), 0.0, reach, len(start))
    return np.where(np.isnan(start) | inside, np.nan, start + side * found)
