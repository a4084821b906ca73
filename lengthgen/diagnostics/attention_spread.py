"""How attention spreads by layer, head and query: entropy, effective keys, share on far keys.

H_i = -sum_j a_ij ln a_ij over the keys j of query i: uniform attention over exp(H_i) keys has the
same entropy, and over all keys H_i / ln(i + 1) is 1. A softmax over more keys with the same scores
spreads (dilution): the slope of H against ln i is 1 where attention spreads over all keys alike and
0 where the number of effective keys stays. Far keys are at least L back.

Means over held-out windows of the longest length. Weights count as shares of their sum, which a
stick that is not used up leaves below one.

Shape letters: B batch, H heads, T positions, R rows of queries, S keys, L training length.
"""

import itertools

import numpy as np
import torch
from torch import Tensor

from lengthgen.diagnostics import weights
from lengthgen.diagnostics.diagnosed_model import DiagnosedModel
from lengthgen.diagnostics.findings import Finding, Table, range_of

BINS = 48  # of query positions, at most

COLUMNS = {
    "layer": "from 0",
    "head": "from 0",
    "position": "first query position of the bin, from 0",
    "position_end": "one past its last",
    "entropy": "H, nats; mean over the bin's queries and all windows",
    "effective_keys": "exp(H), mean over the same queries",
    "normalised_entropy": "H / ln(i + 1), mean over the same queries but i = 0; 1 = uniform",
    "far_mass": "share of attention on keys at least train_length back",
    "n_queries": "queries in the bin, all windows",
}
GROWTH = {
    "layer": "from 0",
    "head": "from 0",
    "slope_within": "slope of H against ln(i + 1), queries train_length / 4 to train_length",
    "slope_beyond": "the same, queries from train_length on; 1 = as uniform attention,"
    " 0 = no spreading; empty without such queries",
    "far_mass_last": "far_mass of the last eighth of the window",
}


def measure(subject: DiagnosedModel) -> Finding:
    """Tables attention_spread and attention_growth."""
    entropy, effective, far, n_windows = by_query(subject)
    L, T = subject.train_length, subject.longest
    edges = np.unique(np.linspace(0, T, min(BINS, T) + 1).round().astype(int))
    rows, growth = [], []
    for layer, head in np.ndindex(*entropy.shape[:2]):
        H, far_mass = entropy[layer, head], far[layer, head]
        with np.errstate(divide="ignore", invalid="ignore"):  # ln 1 = 0 at the first query
            normalised = H / np.log(np.arange(T) + 1.0)
        for start, end in itertools.pairwise(edges):
            rows.append({
                "layer": layer, "head": head, "position": int(start), "position_end": int(end),
                "entropy": H[start:end].mean(),
                "effective_keys": effective[layer, head, start:end].mean(),
                "normalised_entropy": normalised[max(1, start) : end].mean() if end > 1 else None,
                "far_mass": far_mass[start:end].mean(), "n_queries": int(end - start) * n_windows,
            })  # fmt: skip
        growth.append({
            "layer": layer, "head": head, "slope_within": slope(H, L // 4, L),
            "slope_beyond": slope(H, L, T), "far_mass_last": far_mass[-max(1, T // 8) :].mean(),
        })  # fmt: skip
    return Finding(
        [Table("attention_spread", COLUMNS, rows), Table("attention_growth", GROWTH, growth)],
        _sentences(growth, n_windows, L, T),
    )


def by_query(subject: DiagnosedModel) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Mean entropy, effective keys and far mass (layers, heads, T); how many windows."""
    model, windows = subject.model, subject.windows[subject.longest][: subject.n_read]
    shape = (3, model.config.n_layers, model.config.n_heads, subject.longest)
    total = torch.zeros(shape, dtype=torch.float64)

    def consume(layer: int, first: int, weights: Tensor) -> None:
        measures = torch.stack(_of_rows(weights, first, subject.train_length))
        total[:, layer, :, first : first + weights.shape[2]] += measures.double().sum(1).cpu()

    with torch.no_grad(), weights.watched(model, consume):
        for window in windows:
            model(window[None])
    entropy, effective, far = (total / len(windows)).numpy()
    return entropy, effective, far, len(windows)


def _of_rows(weights: Tensor, first: int, train_length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same (B, H, R) of weights (B, H, R, S), rows first..first+R-1."""
    weights = weights.clamp(min=0)  # what is left of a stick can be -1e-8
    weights = weights / weights.sum(-1, keepdim=True)
    # xlogy: a hidden key has weight 0, and 0 ln 0 counts as 0.
    entropy = -torch.xlogy(weights, weights).sum(-1)
    R, S = weights.shape[-2:]
    i = torch.arange(first, first + R, device=weights.device)[:, None]
    far = torch.arange(S, device=weights.device) <= i - train_length
    return entropy, entropy.exp(), weights.masked_fill(~far, 0.0).sum(-1)


def slope(entropy: np.ndarray, first: int, last: int) -> float | None:
    """Slope of entropy (T,) against ln(i + 1), i = first..last-1; None below 8 positions."""
    if last - first < 8:
        return None
    return float(np.polyfit(np.log(np.arange(first, last) + 1), entropy[first:last], 1)[0])


def _sentences(growth: list[dict], n_windows: int, train_length: int, longest: int) -> list[str]:
    sentences = [f"Read from {n_windows} held-out windows of {longest:,} tokens."]
    beyond = [row["slope_beyond"] for row in growth if row["slope_beyond"] is not None]
    if beyond:
        sentences.append(
            f"Effective keys grow beyond {train_length:,} as i^s, s = {range_of(beyond)} over"
            f" layers and heads, mean {np.mean(beyond):.2f} (1: as uniform attention; 0: not at"
            f" all); {sum(s > 0.5 for s in beyond)} of {len(beyond)} above 0.5."
        )
        far = [row["far_mass_last"] for row in growth]
        sentences.append(
            f"In the last eighth of the window {np.mean(far):.1%} of attention lies on keys at"
            f" least {train_length:,} back, {min(far):.1%} to {max(far):.1%} by head."
        )
    return sentences
