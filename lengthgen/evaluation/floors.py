"""The exact floor of synthetic data beside the losses of the same tokens, and leaks.

Excess = loss - floor, token by token. The floor is the least mean loss given the tokens before the
target in the window, so a model is below it only by chance. A mean excess below 0 by three standard
errors over documents (with few of them, Student's quantile of the same probability) is a leak: the
model saw its targets.

Shape letters: W windows, P scored positions, D documents. Nats.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation.planners import Request
from lengthgen.statistics import comparisons
from lengthgen.statistics.paired import Paired

TAIL = float(ndtr(-3))  # of three standard errors
ROUNDING = 1e-4  # nats: losses are summed in float32 over the vocabulary
LEAK = "leak"  # status of rows

# document, start -> the floor of each of its tokens, NaN where it is not known
Exact = Callable[[int, int], np.ndarray]


def of_request(
    request: Request, exact: Exact, known: dict[tuple[int, int], np.ndarray]
) -> np.ndarray | None:
    """(W, P): the floor of each scored token; None if one has no exact rule. known: a cache."""
    rows = []
    for window in request.windows:
        key = window.document, window.start
        if key not in known:
            known[key] = exact(*key)
        rows.append(known[key][window.start + window.first + 1 : window.start + window.stop + 1])
        if np.isnan(rows[-1]).any():
            return None
    return np.stack(rows)


def leak(excess_sum: np.ndarray, n_tokens: np.ndarray) -> str | None:
    """(D,) excess sums and tokens of one request -> why it is a leak; None if not, or not known."""
    excess = Paired(excess_sum[None, None], np.asarray(n_tokens, np.float64)[None])
    estimate = comparisons.estimate(excess)
    value, error = float(estimate.value[0]), float(estimate.spread.standard_error[0])
    # NaN, of a single document, is no leak.
    if not value + float(estimate.spread.critical(TAIL)[0]) * error < -ROUNDING:
        return None
    return (
        f"mean excess over the exact floor {value:.4f} nats, standard error {error:.4f}: "
        "a model that does not see its targets cannot do so"
    )


def refuse_leaks(evaluation: Path) -> None:
    """DataError if a written evaluation has a leak."""
    outcomes = files.read_json(evaluation / "settings.json", {}).get("outcomes", [])
    leaks = [outcome for outcome in outcomes if outcome["status"] == LEAK]
    if leaks:
        where = ", ".join(f"{outcome['protocol']} at {outcome['eval_length']}" for outcome in leaks)
        raise DataError(
            f"leak ({where}): {leaks[0]['reason']}; is every score of the scheme causal? "
            f"Its tables are in {evaluation}"
        )
