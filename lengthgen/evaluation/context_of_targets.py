"""How much of its own document each scored token is seen with: what a loss at L' tokens says of L' tokens. No model, no torch.

A target at position p of a window is seen with p + 1 tokens, as far as they are of its own document: fewer where the window begins before
the document does, none where the target lies behind its end. Its context is full where these are at least L' - m + 1, m being the
target tokens of a matched window: as much as the matched protocol, and a window that moves on by m, gives to every target. Of the
matched protocol a share below 1 is a fault, and its rows say so; of non-overlapping windows it is m / L'.

Shape letters: W windows, P scored positions.
"""

from collections.abc import Sequence

import numpy as np

from lengthgen.evaluation.planners import Request, Window


def contexts(windows: Sequence[Window], sizes: np.ndarray) -> np.ndarray:
    """(W, P): tokens of its own document that each target is seen with, itself not counted. sizes: tokens in each document."""
    start, first, stop = (
        np.array([getattr(window, name) for window in windows])
        for name in ("start", "first", "stop")
    )
    size = np.asarray(sizes)[[window.document for window in windows]]
    position = first[:, None] + np.arange(stop[0] - first[0])
    seen = np.maximum(position + 1 + np.minimum(start, 0)[:, None], 0)
    return np.where(start[:, None] + position + 1 < size[:, None], seen, 0)


def shares(
    request: Request, sizes: np.ndarray, block: int, answers: np.ndarray | None = None
) -> dict[str, float]:
    """full_context: the share of the request's targets with full context; mean_context: tokens. block: m.

    answers: (W, P) bool, the targets that count (exact_match.py); None: all of them.
    """
    found = contexts(request.windows, sizes)
    found = found if answers is None else found[answers]
    return {
        "full_context": float((found > request.eval_length - block).mean()),
        "mean_context": float(found.mean()),
    }


def fault(request: Request, full_context: float) -> str:
    """What a row of this request has to say of its context; empty if nothing."""
    if request.protocol != "matched" or full_context == 1:
        return ""
    return f"only {full_context:.1%} of the scored tokens have their full context of {request.eval_length} tokens of their own document"


def histogram(sizes: np.ndarray) -> dict[str, int]:
    """How many documents have so many tokens: {"512": those of 512 to 1,023, "1024": ...}, where there are any."""
    exponents = (
        np.frexp(np.asarray(sizes, np.float64))[1] - 1
    )  # size = fraction * 2^exponent, fraction in [0.5, 1)
    counts = np.bincount(np.maximum(exponents, 0)) if len(exponents) else []
    return {str(2**exponent): int(count) for exponent, count in enumerate(counts) if count}
