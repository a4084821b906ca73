"""How many tokens of its own document each scored token is seen with. No model, no torch.

A target at position p of a window is seen with p + 1 tokens, less those before its document begins,
and none if it lies behind its document's end. Its context is full if these are at least L' - m + 1,
m being the target tokens of a matched window. In matched rows a share below 1 is a fault, which the
rows report; for non-overlapping windows it is m / L'.

Shape letters: W windows, P scored positions.
"""

from collections.abc import Sequence

import numpy as np

from lengthgen.data.tokens import TokenStore
from lengthgen.evaluation.planners import Request, Window


def targets(store: TokenStore, window: Window) -> np.ndarray:
    """(P,): the tokens that a window scores."""
    start = int(store.offsets[window.document]) + window.start
    return store.tokens(start + window.first + 1, start + window.stop + 1).numpy()


def contexts(windows: Sequence[Window], sizes: np.ndarray) -> np.ndarray:
    """(W, P): tokens of its document that each target is seen with. sizes: tokens per document."""
    start, first, stop = (
        np.array([getattr(window, name) for window in windows])
        for name in ("start", "first", "stop")
    )
    size = np.asarray(sizes)[[window.document for window in windows]]
    position = first[:, None] + np.arange(stop[0] - first[0])
    # A window with a start below 0 begins before its document does.
    tokens = np.maximum(position + 1 + np.minimum(start, 0)[:, None], 0)
    return np.where(start[:, None] + position + 1 < size[:, None], tokens, 0)


def shares(
    request: Request, sizes: np.ndarray, block: int, answers: np.ndarray | None = None
) -> dict[str, float]:
    """full_context: the share of targets with full context; mean_context: tokens. block: m.

    answers: (W, P) bool, the targets that count (exact_match.py); None: all of them.
    """
    tokens = contexts(request.windows, sizes)
    tokens = tokens if answers is None else tokens[answers]
    return {
        "full_context": float((tokens > request.eval_length - block).mean()),
        "mean_context": float(tokens.mean()),
    }


def fault(request: Request, full_context: float) -> str:
    """What a row of this request has to report of its context; empty if nothing."""
    if request.protocol != "matched" or full_context == 1:
        return ""
    return (
        f"only {full_context:.1%} of the scored tokens have their full context of "
        f"{request.eval_length} tokens of their own document"
    )


def histogram(sizes: np.ndarray) -> dict[str, int]:
    """Documents by size: {"512": how many of 512 to 1,023 tokens, "1024": ...}, without zeros."""
    # frexp gives size = fraction * 2^exponent with a fraction in [0.5, 1).
    exponents = np.frexp(np.asarray(sizes, np.float64))[1] - 1
    counts = np.bincount(np.maximum(exponents, 0)).tolist()
    return {str(2**exponent): count for exponent, count in enumerate(counts) if count}
