"""The empirical receptive field: how far back the text matters to the last hidden state of a window, by the norm of its gradient.

s_j = sum of |d y / d x_m| over the last j tokens m / the same over all tokens, y the final hidden state at the last position, x_m the
embedding of token m; ERF = the least j with s_j >= 0.99.
Source: Chi et al., "Dissecting Transformer length extrapolation via the lens of receptive field analysis" (ACL 2023).

The Frobenius norm of each Jacobian (E x E) is estimated by products with a few random directions: E |J^T u|^2 = |J|^2 for u ~ N(0, I).

Shape letters: T positions, E width.
"""

import numpy as np
import torch
from torch import Tensor

from lengthgen.diagnostics.findings import Finding, Table
from lengthgen.diagnostics.subject import Subject
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


def measure(subject: Subject) -> Finding:
    """Tables receptive_field (the curves) and receptive_field_size (a row a window)."""
    curves, sizes, said = [], [], []
    L = subject.train_length
    for length in sorted({L, subject.longest}):
        tokens = subject.windows[length][: subject.n_read]
        shares = np.stack(
            [
                cumulative(gradient_norms(subject.model, window, seed))
                for seed, window in enumerate(tokens)
            ]
        )
        for j in log_spaced(length):
            at = shares[:, j - 1]
            row = {
                "eval_length": length,
                "tokens": j,
                "share": at.mean(),
                "low": at.min(),
                "high": at.max(),
                "n_windows": len(tokens),
            }
            curves.append(row)
        of_length = [
            {
                "eval_length": length,
                "window": w,
                "erf": field(share),
                "share_far": 1 - share[L - 1] if length > L else 0.0,
            }
            for w, share in enumerate(shares)
        ]
        sizes += of_length
        fields = [row["erf"] for row in of_length]
        said.append(
            f"In windows of {length:,} tokens the last {np.median(fields):,.0f} (median; {min(fields):,} to {max(fields):,} over "
            f"{len(fields)} windows) hold {SHARE:.0%} of the gradient of the last hidden state."
        )
    return Finding(
        [Table("receptive_field", COLUMNS, curves), Table("receptive_field_size", SIZES, sizes)],
        said,
    )


def gradient_norms(model: Transformer, tokens: Tensor, seed: int) -> np.ndarray:
    """|d y / d x_m| (T,) float64 of one window of tokens (T,), up to a factor that all share."""
    leaf: list[Tensor] = []

    def replaced(module, given, embedded: Tensor) -> Tensor:
        leaf.append(embedded.detach().requires_grad_())
        return leaf[0]

    hook = model.embedding.register_forward_hook(replaced)
    try:
        with torch.enable_grad():
            last = model(tokens[None])[0, -1]
    finally:
        hook.remove()
    generator = torch.Generator().manual_seed(seed)
    squares = 0.0
    for left in reversed(range(DIRECTIONS)):
        direction = torch.randn(last.shape, generator=generator).to(last)
        (gradient,) = torch.autograd.grad(last, leaf[0], direction, retain_graph=left > 0)
        squares = squares + gradient[0].double().square().sum(-1)
    return squares.sqrt().cpu().numpy()


def cumulative(norms: np.ndarray) -> np.ndarray:
    """s_1 .. s_T (T,) of norms (T,) by position."""
    backwards = norms[::-1].cumsum()
    return backwards / backwards[-1]


def field(shares: np.ndarray) -> int:
    """The least j with s_j >= SHARE."""
    return int(np.searchsorted(shares, SHARE)) + 1


def log_spaced(length: int) -> list[int]:
    """Whole numbers 1..length, at most POINTS, evenly spaced in their logarithm."""
    return sorted({int(j) for j in np.geomspace(1, length, POINTS).round()})
