"""The learned bias of every head by distance, and how much of it each form explains.

The bias b(D) of each layer and head at the distances D = 0 .. L - 1 of training, as the last query
of a window of L tokens sees it, weighted by the L - D pairs of a window that trained it. Attention
knows it up to a constant. An arm's share for a form: sum over heads of what the form explains of
their variance, over the sum of their variances, so that a head without a bias counts for nothing.
Forms: statistics/curve_forms.py.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lengthgen.errors import ConfigError
from lengthgen.statistics import curve_forms
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun, Material

Row = dict[str, Any]
FLAT = 0.1  # nats: a head whose bias has a smaller standard deviation counts as constant
LOG_POINTS = 32  # distances of a written curve from here on are spaced in their logarithm


def of_run(evaluation: EvaluatedRun) -> list[tuple[str, int, np.ndarray]]:
    """(layers that share it, head, b (L,)) of every head. ConfigError without such a bias."""
    import torch

    from lengthgen.diagnostics import bias_curve
    from lengthgen.runs import stored

    if "bias" not in evaluation.kept:
        model, splits = stored.evaluated_model(evaluation.folder)
        tokens = splits.validation.tokens(0, evaluation.train_length)[None]
        with torch.no_grad():
            curves = bias_curve.of_scheme(model.scheme, tokens, evaluation.train_length)
        if not curves:
            raise ConfigError(f"scheme {evaluation.scheme} has no bias that positions alone decide")
        evaluation.kept["bias"] = [
            (layers, head, b) for layers, heads in curves.items() for head, b in enumerate(heads)
        ]
    return evaluation.kept["bias"]


def share(subject: EvaluatedArm, form: str) -> list[float]:
    """For each seed, of the variance of all heads, what a form explains."""
    return [_share(of_run(evaluation), form) for evaluation in subject.evaluations]


def spread(subject: EvaluatedArm) -> list[float]:
    """For each seed, the root mean square over heads of the bias's standard deviation, nats."""
    found = []
    for evaluation in subject.evaluations:
        heads = of_run(evaluation)
        variances = [curve_forms.variance(b, _weights(b)) for _, _, b in heads]
        found.append(math.sqrt(sum(variances) / len(variances)))
    return found


def tables(material: Material, names: Iterable[str]) -> tuple[list[Row], list[Row]]:
    """(BIAS: a row a head, BIAS_CURVES: its values) of every seed of the arms."""
    heads, curves = [], []
    for name in names:
        for evaluation in material[name].evaluations:
            about = {
                "subject": name,
                "scheme": evaluation.scheme,
                "dataset": evaluation.dataset,
                "seed": evaluation.seed,
            }
            for layers, head, b in of_run(evaluation):
                row = about | {"layers": layers, "head": head}
                weights = _weights(b)
                found = curve_forms.shares(b, weights)
                deviation = math.sqrt(curve_forms.variance(b, weights))
                form = best(found, deviation)
                period = curve_forms.period(b, weights)
                heads.append(row | {"spread": deviation, **found, "period": period, "form": form})
                values = ({"offset": D, "bias": b[D] - b.mean()} for D in _written(len(b)))
                curves += [row | {"form": form} | value for value in values]
    return heads, curves


def best(shares: dict[str, float], deviation: float) -> str:
    """The form that explains most of a head's bias. decreasing is a bound, not a form."""
    if deviation < FLAT:
        return "constant"
    forms = {form: share for form, share in shares.items() if form != "decreasing"}
    return max(forms, key=lambda form: forms[form])


def _share(heads: list[tuple[str, int, np.ndarray]], form: str) -> float:
    explained = whole = 0.0
    for _, _, b in heads:
        variance, found = curve_forms.variance(b, _weights(b)), curve_forms.shares(b, _weights(b))
        if not math.isnan(found[form]):
            explained, whole = explained + variance * found[form], whole + variance
    return explained / whole if whole else math.nan


def _weights(b: np.ndarray) -> np.ndarray:
    """Pairs of a window of L tokens at every distance."""
    return len(b) - np.arange(len(b), dtype=np.float64)


def _written(n: int) -> Iterator[int]:
    last = -1
    for D in range(n):
        if D < LOG_POINTS or last * 1.04 <= D or n - 1 == D:
            last = D
            yield D
