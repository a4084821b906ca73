"""Position probes: can a linear map read the position from hidden states, also past training?

For the embedding with its codes (layer 0) and after every block l (layer l): ridge regression of
the position t on the hidden state at t, fitted on positions t < L of some documents and tested on
others, within L and beyond. R^2 = 1 - sum (t - t^)^2 / sum (t - mean)^2 with the mean of the tested
positions: below 0 is worse than that mean, as a map that saturates at L must be.

Features are standardised over the fitted tokens. The penalty has the least error of PENALTIES when
each fitted document is left out in turn (the smallest where there is only one). Windows are of the
longest length; nothing is random.

Shape letters: T positions, E width, N tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.diagnostics.diagnosed_model import DiagnosedModel
from lengthgen.diagnostics.findings import Finding, Table
from lengthgen.model import Transformer

PENALTIES = tuple(10.0**power for power in range(-8, 3))  # a token, on scaled features

COLUMNS = {
    "layer": "0: the embedding with its codes; l: after block l",
    "range": "within: tested positions below train_length; beyond: from it on",
    "r2": "of the position, on documents that were not fitted;"
    " 0 = no better than the mean position, negative = worse",
    "error": "root mean square error, tokens",
    "offset": "mean of (read - true) position, tokens",
    "n_tokens": "tokens tested",
    "n_documents": "documents tested",
    "penalty": "of the ridge regression, a token, on scaled features",
}


@dataclass(frozen=True)
class Probe:
    """t^ = intercept + x . weights."""

    weights: Tensor  # (E,) float64
    intercept: float

    def __call__(self, x: Tensor) -> Tensor:
        """(..., E) -> (...,) positions, float64."""
        return x.double() @ self.weights + self.intercept


def moments(x: Tensor, t: Tensor) -> Tensor:
    """(E + 2, E + 2) float64: sums over N tokens of the products of (1, x, t)."""
    joined = torch.cat((torch.ones_like(t)[:, None], x, t[:, None]), dim=1).double()
    return joined.mT @ joined


def ridge(sums: Tensor, penalty: float) -> Probe:
    """The regression of t on x with these moments."""
    n = sums[0, 0]
    mean = sums[0, 1:] / n
    covariance = sums[1:, 1:] / n - mean[:, None] * mean
    scale = covariance.diagonal()[:-1].clamp(min=0).sqrt()
    # an infinite scale gives a feature that does not vary the weight 0 instead of a division by 0
    scale = torch.where(scale > 1e-9 * scale.max().clamp(min=1e-30), scale, torch.inf)
    scaled = covariance[:-1, :-1] / scale[:, None] / scale
    scaled.diagonal().add_(penalty)
    weights = torch.linalg.solve(scaled, covariance[:-1, -1] / scale) / scale
    return Probe(weights, float(mean[-1] - mean[:-1] @ weights))


def fitted_on(by_document: Tensor) -> tuple[Probe, float]:
    """The probe of the moments of several documents (documents, E + 2, E + 2), and its penalty."""
    total = by_document.sum(0)

    # moments add up: a document is left out by subtracting its own
    def left_out_error(penalty: float) -> float:
        return sum(_error(ridge(total - sums, penalty), sums) for sums in by_document)

    penalty = min(PENALTIES, key=left_out_error) if len(by_document) > 1 else PENALTIES[0]
    return ridge(total, penalty), penalty


def _error(probe: Probe, sums: Tensor) -> float:
    """Summed square error of the probe on the tokens that have these moments."""
    intercept, one = probe.weights.new_tensor([probe.intercept]), probe.weights.new_ones(1)
    terms = torch.cat((intercept, probe.weights, -one))
    return float(terms @ sums @ terms)


def measure(subject: DiagnosedModel) -> Finding:
    """Table probes."""
    model, L, windows = subject.model, subject.train_length, subject.windows[subject.longest]
    if len(windows) < 2:
        few = "there is only one held-out document that is long enough"
        return Finding(skipped=f"{few}, and a probe is tested on another than it is fitted on")
    fitted, tested = windows[: len(windows) // 2], windows[len(windows) // 2 :]
    t = torch.arange(subject.longest, device=subject.device, dtype=torch.float64)
    sums = [
        torch.stack([moments(x[:L].double(), t[:L]) for x in hidden_states(model, window)])
        for window in fitted
    ]
    probes, penalties = zip(*map(fitted_on, torch.stack(sums, dim=1)), strict=True)
    errors = torch.stack([
        torch.stack([p(x) - t for p, x in zip(probes, hidden_states(model, window), strict=True)])
        for window in tested
    ])  # fmt: skip
    rows = [
        {
            "layer": layer, "range": name, **error_columns(errors[:, layer, part], t[part]),
            "n_documents": len(tested), "penalty": penalty,
        }
        for layer, penalty in enumerate(penalties)
        for name, part in (("within", slice(0, L)), ("beyond", slice(L, None)))
        if len(t[part]) > 1
    ]  # fmt: skip
    return Finding([Table("probes", COLUMNS, rows)], _sentences(rows, len(fitted), len(tested), L))


@torch.no_grad()
def hidden_states(model: Transformer, window: Tensor) -> list[Tensor]:
    """Hidden states [(T, E)] of one window (T,): before the first block, then after each block."""
    states: list[Tensor] = []
    blocks = model.blocks
    hooks = [blocks[0].register_forward_pre_hook(lambda _, inputs: states.append(inputs[0][0]))]
    hooks += [b.register_forward_hook(lambda _, inputs, x: states.append(x[0])) for b in blocks]
    try:
        model(window[None])
    finally:
        for hook in hooks:
            hook.remove()
    return states


def error_columns(errors: Tensor, t: Tensor) -> dict:
    """r2, error, offset and n_tokens of errors (documents, T) at positions t (T,)."""
    square = float(errors.square().mean())
    return {
        "r2": 1 - square / float((t - t.mean()).square().mean()), "error": square**0.5,
        "offset": float(errors.mean()), "n_tokens": errors.numel(),
    }  # fmt: skip


def _sentences(rows: list[dict], n_fitted: int, n_tested: int, train_length: int) -> list[str]:
    fitted = f"Fitted on {n_fitted} documents, positions below {train_length:,}"
    sentences = [f"{fitted}; tested on {n_tested} others."]
    for layer in sorted({row["layer"] for row in rows}):
        by_range = {row["range"]: row for row in rows if row["layer"] == layer}
        within, beyond = by_range["within"], by_range.get("beyond")
        read = f"{within['r2']:.3g} within (error {within['error']:.3g} tokens)"
        if beyond:
            offset = f"mean read - true {beyond['offset']:+,.1f} tokens"
            read += f", {beyond['r2']:.3g} beyond ({offset})"
        sentences.append(f"Layer {layer}: R2 = {read}.")
    return sentences
