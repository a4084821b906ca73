"""The exact floor of synthetic data beside the losses of the same tokens, and what a loss below it means.

Excess = loss - floor, token by token; the floor is the least mean loss given the tokens that the window feeds before the target, so
that no model can have a lower one but by chance. A mean excess surely below 0 is a leak: the model saw its targets. Surely: by
three standard errors with the document as the unit, or, with few documents, as far as Student's quantile of the same probability.

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
from lengthgen.statistics.losses import Paired

TAIL = float(ndtr(-3))  # of three standard errors
ROUNDING = 1e-4  # nats: losses are summed in float32 over the vocabulary
LEAK = "leak"  # status of rows

Exact = Callable[
    [int, int], np.ndarray
]  # document, start -> the floor of each of its tokens, NaN where it is not known


def of_request(
    request: Request, exact: Exact, known: dict[tuple[int, int], np.ndarray]
) -> np.ndarray | None:
    """(W, P): the floor of each scored token; None if the source has no exact rule for one of them. known: kept between requests."""
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
    """(D,) sums of the excess and tokens of one request -> why it is a leak; None if it is none, or with fewer than two documents."""
    found = comparisons.estimate(
        Paired(excess_sum[None, None], np.asarray(n_tokens, np.float64)[None])
    )
    value, error = float(found.value[0]), float(found.spread.standard_error[0])
    if not value + float(found.spread.critical(TAIL)[0]) * error < -ROUNDING:
        return None
    return f"mean excess over the exact floor {value:.4f} nats, standard error {error:.4f}: a model that does not see its targets cannot do so"


def refuse_leaks(evaluation: Path) -> None:
    """Raise DataError if what is written of an evaluation says that something leaks."""
    outcomes = files.read_json(evaluation / "settings.json", {}).get("outcomes", [])
    leaks = [outcome for outcome in outcomes if outcome["status"] == LEAK]
    if leaks:
        where = ", ".join(f"{outcome['protocol']} at {outcome['eval_length']}" for outcome in leaks)
        raise DataError(
            f"leak ({where}): {leaks[0]['reason']}; is every score of the scheme causal? Its tables are in {evaluation}"
        )
