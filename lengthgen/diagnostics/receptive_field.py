"""The empirical receptive field: how far back text matters to the last hidden state.

s_j = sum of |d y / d x_m| over the last j tokens m / the same over all tokens, y the final hidden
state at the last position, x_m the embedding of token m; ERF = the least j with s_j >= 0.99.
Source: Chi et al., "Dissecting Transformer length extrapolation via the lens of receptive field
analysis" (ACL 2023).

The Frobenius norm of each Jacobian J (E x E) is estimated by products with a few random directions:
E |J^T u|^2 = |J|^2 for u ~ N(0, I).

Shape letters: T positions, E width, L training length.
"""

import numpy as np
import torch
from torch import Tensor

from lengthgen.diagnostics.diagnosed_model import DiagnosedModel
from lengthgen.diagnostics.findings import Finding, Table, log_spaced
from lengthgen.model import Transformer

SHARE = 0.99  # of the gradient that a receptive field holds
DIRECTIONS = 2  # random directions a window
POINTS = 64  # of the curve, log-spaced, at most

COLUMNS = {
    "eval_length": "tokens in the window",
    "tokens": "j: the last j tokens of the window",
    "share": "s_j, of the gradient's norm summed over tokens; mean over windows",
    "low": "least s_j of a window",
    "high": "greatest s_j of a window",
    "n_windows": "windows read",
}
SIZES = {
    "eval_length": "tokens in the window",
    "window": "number of the window, from 0",
    "erf": "the least j with s_j >= 0.99, tokens",
    "share_far": "share of the gradient's norm on tokens at least train_length back",
}


def measure(subject: DiagnosedModel) -> Finding:
    """Tables receptive_field (the curves) and receptive_field_size (a row a window)."""
    curves, sizes, sentences = [], [], []
    L = subject.train_length
    for length in sorted({L, subject.longest}):
        windows = subject.windows[length][: subject.n_read]
        shares = np.stack([
            cumulative(gradient_norms(subject.model, window, seed))
            for seed, window in enumerate(windows)
        ])  # fmt: skip
        for j in log_spaced(length, POINTS):
            share = shares[:, j - 1]
            curves.append({
                "eval_length": length, "tokens": j, "share": share.mean(), "low": share.min(),
                "high": share.max(), "n_windows": len(windows),
            })  # fmt: skip
        fields = [field(share) for share in shares]
        sizes += [
            {"eval_length": length, "window": w, "erf": erf,
             "share_far": 1 - shares[w, L - 1] if length > L else 0.0}
            for w, erf in enumerate(fields)
        ]  # fmt: skip
        sentences.append(
            f"In windows of {length:,} tokens the last {np.median(fields):,.0f} (median;"
            f" {min(fields):,} to {max(fields):,} over {len(fields)} windows) hold {SHARE:.0%} of"
            " the gradient of the last hidden state."
        )
    return Finding(
        [Table("receptive_field", COLUMNS, curves), Table("receptive_field_size", SIZES, sizes)],
        sentences,
    )


def gradient_norms(model: Transformer, tokens: Tensor, seed: int) -> np.ndarray:
    """|d y / d x_m| (T,) float64 of one window of tokens (T,), up to a factor that all share."""
    leaf: list[Tensor] = []

    def replaced(module, inputs, embedded: Tensor) -> Tensor:
        # a leaf in place of the embeddings: gradients of the window's tokens, not the table's rows
        leaf.append(embedded.detach().requires_grad_())
        return leaf[0]

    hook = model.embedding.register_forward_hook(replaced)
    try:
        with torch.enable_grad():
            last = model(tokens[None])[0, -1]
    finally:
        hook.remove()
    # on the CPU, so that every device takes the same directions
    generator = torch.Generator().manual_seed(seed)
    squares = tokens.new_zeros(len(tokens), dtype=torch.float64)
    for left in reversed(range(DIRECTIONS)):
        direction = torch.randn(last.shape, generator=generator).to(last)
        (gradient,) = torch.autograd.grad(last, leaf[0], direction, retain_graph=left > 0)
        squares += gradient[0].double().square().sum(-1)
    return squares.sqrt().cpu().numpy()


def cumulative(norms: np.ndarray) -> np.ndarray:
    """s_1 .. s_T (T,) of norms (T,) by position."""
    backwards = norms[::-1].cumsum()
    return backwards / backwards[-1]


def field(shares: np.ndarray) -> int:
    """The least j with s_j >= SHARE."""
    return int(np.searchsorted(shares, SHARE)) + 1
