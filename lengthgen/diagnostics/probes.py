"""Position probes: can a linear map read the position from the hidden states, and does it still beyond the training length?

For the embedding with its codes (layer 0) and after every block l (layer l), ridge regression of the position t on the hidden state at t:
fitted on positions t < L of some documents, tested on others, within L and beyond. R^2 = 1 - sum (t - t^)^2 / sum (t - mean)^2 with the
mean of the tested positions: 0 is as good as knowing that mean, and below 0 is worse, as a map that saturates at L must be.

Features are scaled by their mean and standard deviation over what was fitted. The penalty, a token, is the one of PENALTIES with the least
error when each fitted document is left out in turn (the least of all where there is only one document to fit on). All tokens count; nothing
is drawn. Windows are of the longest length.

Shape letters: T positions, E width, N tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.diagnostics.findings import Finding, Table
from lengthgen.diagnostics.subject import Subject
from lengthgen.model import Transformer

PENALTIES = tuple(10.0**power for power in range(-8, 3))  # a token, on scaled features

COLUMNS = {
    "layer": "0: the embedding with its codes; l: after block l",
    "range": "within: tested positions below train_length; beyond: from it on",
    "r2": "of the position, on documents that were not fitted; 0 = no better than the mean position, negative = worse",
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
    """(E + 2, E + 2) float64: sums of (1, x, t) by (1, x, t) over N tokens, x (N, E), t (N,): all that a regression needs."""
    joined = torch.cat((torch.ones_like(t)[:, None], x, t[:, None]), dim=1).double()
    return joined.mT @ joined


def ridge(sums: Tensor, penalty: float) -> Probe:
    """The regression of t on x with these moments."""
    n = sums[0, 0]
    mean = sums[0, 1:] / n
    covariance = sums[1:, 1:] / n - mean[:, None] * mean
    scale = covariance.diagonal()[:-1].clamp(min=0).sqrt()
    scale = torch.where(
        scale > 1e-9 * scale.max().clamp(min=1e-30), scale, torch.inf
    )  # a feature that does not vary reads nothing
    scaled = covariance[:-1, :-1] / scale[:, None] / scale
    scaled.diagonal().add_(penalty)
    weights = torch.linalg.solve(scaled, covariance[:-1, -1] / scale) / scale
    return Probe(weights, float(mean[-1] - mean[:-1] @ weights))


def fitted_on(by_document: Tensor) -> tuple[Probe, float]:
    """The probe of the moments of several documents (documents, E + 2, E + 2), and its penalty."""
    total = by_document.sum(0)
    penalty = PENALTIES[0]
    if len(by_document) > 1:
        penalty = min(
            PENALTIES, key=lambda p: sum(_error(ridge(total - own, p), own) for own in by_document)
        )
    return ridge(total, penalty), penalty


def _error(probe: Probe, sums: Tensor) -> float:
    """Summed square error of the probe on the tokens that have these moments."""
    terms = torch.cat(
        (
            torch.tensor([probe.intercept]).to(probe.weights),
            probe.weights,
            -torch.ones(1).to(probe.weights),
        )
    )
    return float(terms @ sums @ terms)


def measure(subject: Subject) -> Finding:
    """Table probes."""
    model, L, windows = subject.model, subject.train_length, subject.windows[subject.longest]
    if len(windows) < 2:
        return Finding(
            skipped="there is only one held-out document that is long enough, and a probe is tested on another than it is fitted on"
        )
    fitted, tested = windows[: len(windows) // 2], windows[len(windows) // 2 :]
    t = torch.arange(subject.longest, device=subject.device, dtype=torch.float64)
    sums = [
        torch.stack([moments(x[:L].double(), t[:L]) for x in states])
        for states in hidden_states(model, fitted)
    ]
    found = [fitted_on(of_layer) for of_layer in torch.stack(sums, dim=1)]
    probes = [probe for probe, _ in found]
    errors = torch.stack(
        [
            torch.stack([p(x) - t for p, x in zip(probes, states, strict=True)])
            for states in hidden_states(model, tested)
        ]
    )
    rows = [
        {
            "layer": layer,
            "range": name,
            **score(errors[:, layer, part], t[part]),
            "n_documents": len(tested),
            "penalty": found[layer][1],
        }
        for layer in range(len(probes))
        for name, part in (("within", slice(0, L)), ("beyond", slice(L, None)))
        if len(t[part]) > 1
    ]
    return Finding([Table("probes", COLUMNS, rows)], _reading(rows, len(fitted), len(tested), L))


@torch.no_grad()
def hidden_states(model: Transformer, windows: Tensor) -> Iterator[list[Tensor]]:
    """For each window (T,) its hidden states [(T, E)]: before the first block, then after each block."""
    for window in windows:
        states: list[Tensor] = []
        hooks = [
            model.blocks[0].register_forward_pre_hook(
                lambda module, given, states=states: states.append(given[0][0])
            )
        ]
        hooks += [
            block.register_forward_hook(lambda module, given, x, states=states: states.append(x[0]))
            for block in model.blocks
        ]
        try:
            model(window[None])
        finally:
            for hook in hooks:
                hook.remove()
        yield states


def score(errors: Tensor, t: Tensor) -> dict:
    """r2, error, offset and n_tokens of errors (documents, T) at positions t (T,)."""
    square = float(errors.square().mean())
    return {
        "r2": 1 - square / float((t - t.mean()).square().mean()), "error": square**0.5, "offset": float(errors.mean()),
        "n_tokens": errors.numel(),
    }  # fmt: skip


def _reading(rows: list[dict], n_fitted: int, n_tested: int, train_length: int) -> list[str]:
    said = [
        f"Fitted on {n_fitted} documents, positions below {train_length:,}; tested on {n_tested} others."
    ]
    for layer in sorted({row["layer"] for row in rows}):
        by_range = {row["range"]: row for row in rows if row["layer"] == layer}
        within, beyond = by_range["within"], by_range.get("beyond")
        words = (
            f"Layer {layer}: R2 = {within['r2']:.3g} within (error {within['error']:.3g} tokens)"
        )
        said.append(
            words
            + (
                f", {beyond['r2']:.3g} beyond (mean read - true {beyond['offset']:+,.1f} tokens)."
                if beyond
                else "."
            )
        )
    return said
