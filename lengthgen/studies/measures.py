"""The measures that a study's claims are about.

Nats a token unless said. L: training length; f: length_factor, evaluation length / L. Protocol:
matched, unless the claim names one (`whole` for data that are whole documents).

| measure | what it is |
|---|---|
| loss | mean loss at f L |
| excess | loss - exact floor, same tokens |
| change | loss at f L - loss at L, same targets: F of statistics/fails_or_uses.py |
| moved | loss at f L - loss at L of the arm as trained: change, for an arm under a condition |
| hard_window_change | loss at f L under a hard window of L - loss at L: positions alone |
| use_hard_window | loss under a hard window of L (in every layer) - loss, both at f L: U |
| step | loss (excess, if known) at positions L+1..L+8 - at L-7..L of the longest windows |
| last_8, next_8 | the two sides of step: positions L-7..L, and L+1..L+8 |
| early_excess | excess at the first L positions of the longest windows |
| beyond_window | loss at f L - floor of a predictor that sees the last `window` x L symbols |
| gradient | largest gradient of a table's entries beyond L / before L, on one batch; exact |
| utilisation | gain from L to f L / that of `baseline`, trained at f L, or of the floor: u |
| recovered | share of an arm's change at f L that a condition takes away: a ratio |
| bias_linear, bias_log | share of the variance of the heads' bias over the distances of training |
| bias_periodic, ... | that this form explains (bias_forms.py); bias_decreasing: any falling curve |
| bias_log_over_linear | bias_log - bias_linear |
| bias_spread | standard deviation of the heads' bias over these distances, root mean square |

recovered = 1 - (loss under the condition - loss at L) / change. beyond_window is below 0 for a
model that uses more than the window.

Source: Miller 2024 (arXiv 2411.00640: paired differences, clustered by document).
Shape letters: W windows, P scored positions.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from lengthgen.config import dataclass_from
from lengthgen.errors import ConfigError, DataError
from lengthgen.evaluation.stored import Stored
from lengthgen.statistics import fails_or_uses
from lengthgen.statistics.paired import Paired
from lengthgen.studies.claims import Claim
from lengthgen.studies.losses import EvaluatedArm, Material, Values, per_token
from lengthgen.studies.measured import Exact, Mean, Measured, OfSeeds, Share


def measure(material: Material, claim: Claim) -> Measured:
    """The measure of the claim's subject, minus that of the other one if it names one.

    Both at as many tokens, also where they were trained at different lengths.
    """
    if claim.measure in OF_MATERIAL:
        dataclass_from.check(
            claim.baseline is None or claim.measure in PAIRED,
            f"measure {claim.measure} of {claim.subject}: expected no baseline",
        )
        return OF_MATERIAL[claim.measure](material, claim)
    make, subject = OF_SUBJECT[claim.measure], material[claim.subject]
    paired = make(subject, claim)
    if claim.baseline is None:
        return Mean(paired)
    other = material[claim.baseline]
    if claim.length_factor is not None:
        longer = subject.train_length / other.train_length
        claim = replace(claim, length_factor=claim.length_factor * longer)
    return Mean(paired.minus(make(other, claim)))


def by_length(subject: EvaluatedArm, name: str, protocol: str, length: int) -> Measured:
    """A measure of BY_LENGTH at one evaluation length."""
    return Mean(BY_LENGTH[name](subject, protocol, length))


def _excess(subject: EvaluatedArm, protocol: str, length: int) -> Paired:
    return subject.total(protocol, length, lambda one: one.excess)


def _change(subject: EvaluatedArm, protocol: str, length: int) -> Paired:
    long, short = (subject.total(protocol, n) for n in (length, subject.train_length))
    # last_k scores more tokens at one length than at another: the documents' means are compared.
    if not np.array_equal(long.n_tokens, short.n_tokens):
        long, short = (
            Paired(one.sums / one.n_tokens, np.ones_like(one.n_tokens)) for one in (long, short)
        )
    return long.minus(short)


BY_LENGTH: dict[str, Callable[[EvaluatedArm, str, int], Paired]] = {
    "loss": EvaluatedArm.total,
    "excess": _excess,
    "change": _change,
}


def _at(name: str, subject: EvaluatedArm, claim: Claim) -> Paired:
    return BY_LENGTH[name](subject, claim.protocol or "matched", _length(subject, claim))


def _use_hard_window(subject: EvaluatedArm, claim: Claim) -> Paired:
    length = _length(subject, claim)
    return subject.total("hard_window", length).minus(subject.total("matched", length))


def _hard_window_change(subject: EvaluatedArm, claim: Claim) -> Paired:
    confined = subject.total("hard_window", _length(subject, claim))
    return confined.minus(subject.total("matched", subject.train_length))


def _moved(material: Material, claim: Claim) -> Mean:
    trained, changed = material[claim.subject.partition("+")[0]], material[claim.subject]
    before = trained.total("matched", trained.train_length)
    return Mean(changed.total("matched", _length(changed, claim)).minus(before))


def _gradient(material: Material, claim: Claim) -> Exact:
    from lengthgen.studies import gradients

    return Exact(tuple(gradients.beyond_training(material[claim.subject])))


def _bias(
    makes: Callable[[EvaluatedArm], list[float]], material: Material, claim: Claim
) -> OfSeeds:
    """One number a seed, minus that of the baseline if there is one."""
    values = makes(material[claim.subject])
    if claim.baseline:
        others = makes(material[claim.baseline])
        values = [one - other for one, other in zip(values, others, strict=True)]
    return OfSeeds(tuple(values))


def _bias_share(form: str, subject: EvaluatedArm) -> list[float]:
    from lengthgen.studies import bias_forms

    return bias_forms.share(subject, form)


def _bias_log_over_linear(subject: EvaluatedArm) -> list[float]:
    pairs = zip(_bias_share("log", subject), _bias_share("linear", subject), strict=True)
    return [log - linear for log, linear in pairs]


def _bias_spread(subject: EvaluatedArm) -> list[float]:
    from lengthgen.studies import bias_forms

    return bias_forms.spread(subject)


def _step(subject: EvaluatedArm, claim: Claim) -> Paired:
    return _around(0, subject, claim).minus(_around(-fails_or_uses.STEP, subject, claim))


def _around(first: int, subject: EvaluatedArm, claim: Claim) -> Paired:
    """STEP positions from the `first` after the training length on."""
    begin = subject.train_length + first

    def around(one: Stored) -> np.ndarray:
        # The excess where a floor is known: its ups and downs are no step.
        values = one.losses if one.floors is None else one.excess
        return values[:, begin : begin + fails_or_uses.STEP]

    return subject.total("position", _longest(subject), around)


def _early_excess(subject: EvaluatedArm, claim: Claim) -> Paired:
    length = subject.train_length
    return subject.total("position", _longest(subject), lambda one: one.excess[:, :length])


def _beyond_window(subject: EvaluatedArm, claim: Claim) -> Paired:
    if claim.window is None or claim.window >= (claim.length_factor or 0):
        raise ConfigError(
            f"measure beyond_window of {subject.name}: window={claim.window} "
            f"length_factor={claim.length_factor}; expected a window smaller than length_factor"
        )
    floors = _window_floors(subject, subject.length(claim.window))
    return subject.total("matched", _length(subject, claim), lambda one: one.losses - floors(one))


def _window_floors(subject: EvaluatedArm, window: int) -> Values:
    """The floor of each target for a predictor that sees only `window` symbols before it."""
    exact = subject.evaluations[0].splits().floors
    if exact is None:
        raise DataError(
            f"measure beyond_window of {subject.name}: these data have no exact floor; "
            "expected a synthetic dataset"
        )
    store, dataset = exact.store, exact.dataset
    known: dict[int, np.ndarray] = {}

    def floors(one: Stored) -> np.ndarray:
        rows = []
        windows = zip(one.document.tolist(), one.start, one.first, one.losses, strict=True)
        for document, start, first, losses in windows:
            if document not in known:
                symbols = store.document(document)[1:].numpy()
                of_symbols = np.asarray(dataset.floors(symbols, window))
                # Token 0 begins the document and is no target.
                known[document] = np.concatenate([np.array([np.nan]), of_symbols])
            rows.append(known[document][start + first + 1 :][: len(losses)])
        return np.stack(rows)

    return floors


def _recovered(material: Material, claim: Claim) -> Share:
    arm, _, condition = claim.subject.partition("+")
    if not condition:
        raise ConfigError(
            f"measure recovered of {claim.subject}: expected arm+condition, "
            "the condition being the repair"
        )
    broken, repaired = material[arm], material[claim.subject]
    length = _length(broken, claim)
    regained = broken.total("matched", length).minus(repaired.total("matched", length))
    return Share(regained, _change(broken, "matched", length))


def _utilisation(material: Material, claim: Claim) -> Share:
    subject = material[claim.subject]
    ends = subject.train_length, _length(subject, claim)

    def gain(of: EvaluatedArm, values: Values) -> Paired:
        short, long = (of.total("matched", length, values) for length in ends)
        return short.minus(long)

    if claim.baseline:
        reference = gain(material[claim.baseline], per_token)
    else:
        reference = gain(subject, lambda one: one.losses - one.excess)
    return Share(gain(subject, per_token), reference)


def _length(subject: EvaluatedArm, claim: Claim) -> int:
    if claim.length_factor is None:
        raise ConfigError(
            f"measure {claim.measure} of {claim.subject}: give length_factor, "
            "the evaluation length / train_length"
        )
    return subject.length(claim.length_factor)


def _longest(subject: EvaluatedArm) -> int:
    lengths = subject.evaluations[0].lengths("position")
    if not lengths:
        raise ConfigError(
            f"{subject.name}: the position protocol was not evaluated; "
            "add it to evaluation.protocols"
        )
    return max(lengths)


OF_SUBJECT: dict[str, Callable[[EvaluatedArm, Claim], Paired]] = {
    **{name: partial(_at, name) for name in BY_LENGTH},
    "hard_window_change": _hard_window_change,
    "use_hard_window": _use_hard_window,
    "step": _step,
    "last_8": partial(_around, -fails_or_uses.STEP),
    "next_8": partial(_around, 0),
    "early_excess": _early_excess,
    "beyond_window": _beyond_window,
}
OF_MATERIAL: dict[str, Callable[[Material, Claim], Measured]] = {
    "recovered": _recovered,
    "utilisation": _utilisation,
    "moved": _moved,
    "gradient": _gradient,
    "bias_linear": partial(_bias, partial(_bias_share, "linear")),
    "bias_log": partial(_bias, partial(_bias_share, "log")),
    "bias_periodic": partial(_bias, partial(_bias_share, "periodic")),
    "bias_decreasing": partial(_bias, partial(_bias_share, "decreasing")),
    "bias_log_over_linear": partial(_bias, _bias_log_over_linear),
    "bias_spread": partial(_bias, _bias_spread),
}
BIAS = "bias"  # of the heads, by distance: a figure
DIFFERENCE = "difference"  # of the loss, from a scheme that the study is `against`: a figure
PAIRED = ("utilisation", *(name for name in OF_MATERIAL if name.startswith("bias_")))
MEASURES = (*OF_SUBJECT, *OF_MATERIAL)
