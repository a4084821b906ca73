"""Which form a curve over distances has: constant, linear, logarithmic, periodic, monotone.

A form explains 1 - (weighted squared error) / (weighted variance about the mean) of a curve. The
error is that of predicting every fourth distance from a fit to the others, so that a form with more
parameters, or a period that is searched for, gains nothing by them; it can be below 0.

| form | fitted by weighted least squares |
|---|---|
| linear | a + s D |
| log | a + s ln(1 + D) |
| periodic | a + A cos(2 pi D / P) + B sin(2 pi D / P), P from 2 to half of the distances |
| decreasing | any curve that never rises: what the best monotone penalty could do |

decreasing is fitted to all distances (a left-out distance has no step of its own): it is the most
that any penalty which grows with distance can explain. Source: Barlow et al. 1972 (pooling of
adjacent violators).

Shape letters: N distances 0 .. N - 1.
"""

from collections.abc import Callable

import numpy as np

FOLDS = 4
FORMS = ("linear", "log", "periodic", "decreasing")
Fit = Callable[[np.ndarray], np.ndarray]  # distances -> values


def shares(curve: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Form -> share of the weighted variance of a curve (N,) that it explains; NaN if constant."""
    curve, weights = np.asarray(curve, np.float64), np.asarray(weights, np.float64)
    distances = np.arange(len(curve), dtype=np.float64)
    total = variance(curve, weights) * weights.sum()
    if not total > 1e-12:
        return dict.fromkeys(FORMS, np.nan)
    found = {}
    for form, fit in (("linear", _linear), ("log", _log), ("periodic", _periodic)):
        error = 0.0
        for fold in range(FOLDS):
            left_out = np.arange(len(curve)) % FOLDS == fold
            kept = np.where(left_out, 0.0, weights)
            predicted = fit(distances, curve, kept)(distances[left_out])
            error += float((weights[left_out] * (curve[left_out] - predicted) ** 2).sum())
        found[form] = 1.0 - error / total
    rest = curve - decreasing(curve, weights)
    return found | {"decreasing": 1.0 - float((weights * rest**2).sum()) / total}


def variance(curve: np.ndarray, weights: np.ndarray) -> float:
    """About the weighted mean."""
    mean = np.average(curve, weights=weights)
    return float(np.average((curve - mean) ** 2, weights=weights))


def period(curve: np.ndarray, weights: np.ndarray) -> int:
    """The period of the best periodic fit, in distances."""
    distances = np.arange(len(curve), dtype=np.float64)
    return min(_periods(len(curve)), key=lambda P: _error(_wave(P), distances, curve, weights))


def decreasing(curve: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nearest curve (N,) that never rises, by weighted least squares."""
    blocks: list[list[float]] = []  # value, weight, members
    for value, weight in zip(curve, weights, strict=True):
        blocks.append([float(value), float(weight), 1])
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            last, w, n = blocks.pop()
            before, v, m = blocks[-1]
            mean = (last * w + before * v) / (w + v) if w + v > 0 else before
            blocks[-1] = [mean, w + v, m + n]
    return np.concatenate([np.full(int(n), value) for value, _, n in blocks])


def _linear(D: np.ndarray, y: np.ndarray, w: np.ndarray) -> Fit:
    return _fit(lambda D: np.stack([np.ones_like(D), D], axis=1), D, y, w)


def _log(D: np.ndarray, y: np.ndarray, w: np.ndarray) -> Fit:
    return _fit(lambda D: np.stack([np.ones_like(D), np.log1p(D)], axis=1), D, y, w)


def _periodic(D: np.ndarray, y: np.ndarray, w: np.ndarray) -> Fit:
    best = min(_periods(len(D)), key=lambda P: _error(_wave(P), D, y, w))
    return _fit(_wave(best), D, y, w)


def _periods(n: int) -> range:
    return range(2, max(3, n // 2 + 1))


def _wave(P: int) -> Fit:
    def terms(D: np.ndarray) -> np.ndarray:
        turn = 2 * np.pi * D / P
        # At P = 2 the sine is 0 at every distance: the least norm leaves it out.
        return np.stack([np.ones_like(D), np.cos(turn), np.sin(turn)], axis=1)

    return terms


def _error(terms: Fit, D: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    return float((w * (y - _fit(terms, D, y, w)(D)) ** 2).sum())


def _fit(terms: Fit, D: np.ndarray, y: np.ndarray, w: np.ndarray) -> Fit:
    root = np.sqrt(w)
    coefficients = np.linalg.lstsq(terms(D) * root[:, None], y * root, rcond=None)[0]
    return lambda at: terms(at) @ coefficients
