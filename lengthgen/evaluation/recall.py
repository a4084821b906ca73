"""Keyed recall by distance: from how far back does a model still find a value by its key?

In the keyed_recall dataset (sources/recall.py) the value of a pair that comes again is known
exactly from the place where it stood D symbols ago, and from nowhere else. Measured are the losses
of those values, by D, where the earlier key and value are both in the model's window.

    loss(D)   mean loss of these values, nats; 0 for a model that finds them, ln n_values for a
              guess
    found(D)  share of them with p(value) > 1/2, loss < ln 2: a lower bound of the accuracy of the
              best guess

The bounds of `found` are the wider ones of two 95 % intervals: over documents (comparisons.py), and
the exact one of Clopper and Pearson 1934 (Biometrika 26) for values taken as independent. Without
the second, a few values that are all found would have no spread: 72 of 72 are the fewest whose
lower bound is 0.95.

Shape letters: W windows, P scored positions, T symbols of a document.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.special import betaincinv

from lengthgen.evaluation import stored
from lengthgen.evaluation.stored import Stored
from lengthgen.statistics import bootstrap, comparisons

# A row of `by_distance`: symbols, values, documents; nats, and shares, with their 95 % intervals
# (NaN with one document).
COLUMNS = (
    "distance", "n_values", "n_documents", "loss", "loss_low", "loss_high",
    "found", "found_low", "found_high",
)  # fmt: skip

# document -> (T,) how many symbols ago each value stood; 0 where it cannot be known
Distances = Callable[[int], np.ndarray]


def by_distance(losses: Sequence[Stored], distances: Distances) -> list[dict]:
    """A row for each distance, rising. losses: of each seed on the same targets, of any protocol.

    distances: for example
    lambda document: source.distances_of(store.document(document)[1:].numpy()).
    """
    back = _distances(losses[0], distances)
    return [_row(losses, back == distance, int(distance)) for distance in np.unique(back[back > 0])]


def of_evaluation(evaluation: Path, distances: Distances) -> list[dict]:
    """`by_distance` of an evaluation's longest position windows; [] if it has none."""
    lengths = stored.lengths(evaluation, "position")
    if not lengths:
        return []
    return by_distance([stored.read(evaluation, "position", lengths[-1])], distances)


def _distances(losses: Stored, distances: Distances) -> np.ndarray:
    """(W, P): the distance of each scored value whose key and value the window holds; else 0."""
    rows = []
    windows = zip(losses.document.tolist(), losses.start.tolist(), losses.place, strict=True)
    for document, start, place in windows:
        # Symbol 0 is token 1: the token that begins the document comes before it.
        back = distances(document)[place - 1]
        # The key stands just before its value.
        rows.append(np.where(place - back - 1 >= start, back, 0))
    return np.stack(rows)


def _row(losses: Sequence[Stored], chosen: np.ndarray, distance: int) -> dict:
    hits = [one.losses < np.log(2) for one in losses]
    loss, share = (
        comparisons.estimate(losses[0].by_document(values, chosen).paired())
        for values in ([one.losses for one in losses], hits)
    )
    exact = _clopper_pearson(
        sum(int(hit[chosen].sum()) for hit in hits), len(losses) * int(chosen.sum())
    )
    counts = distance, int(chosen.sum()), int(loss.n_documents[0])
    # np.minimum and np.maximum keep NaN, which is the spread over a single document.
    bounds = np.minimum(share.low[0], exact[0]), np.maximum(share.high[0], exact[1])
    means = loss.value[0], loss.low[0], loss.high[0], share.value[0], *bounds
    return dict(zip(COLUMNS, (*counts, *map(float, means)), strict=True))


def _clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    tail = bootstrap.TAILS[0]
    low = betaincinv(successes, trials - successes + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, trials - successes, 1 - tail) if successes < trials else 1.0
    return float(low), float(high)
