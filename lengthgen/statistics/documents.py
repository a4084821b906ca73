"""What documents of unequal size and a long tail do to the interval of a mean.

The two-way interval (variance.py) takes the documents' linearised values as equally important and
normal. With 5 documents of 1 to 16 blocks and a skewed effect it covers 85 to 92 % instead of 95,
and misses on one side. Three corrections, which vanish with many documents of one size:

1. The documents' variance is the jackknife's: a document with the share h of all tokens pulls the
   mean towards itself, so that its distance from it is divided by 1 - h (the cluster-robust CR3;
   Bell and McCaffrey 2002, Survey Methodology 28).
2. Its degrees of freedom are (sum w^2)^2 / sum w^4 - 1, w being the documents' tokens, at most
   D - 1: Satterthwaite's (1946) for a sum of squares with these weights.
3. The interval reaches further on the side of the long tail, by Johnson's term (1978, JASA 73;
   Hall 1992, JRSS B 54): c se grows by g (1 + 2 c^2) / 6 se, g the skewness of the mean, the
   documents' skewness / sqrt(D). A few documents show about half of their skewness (they show at
   most (D - 2) / sqrt(D - 1) of it), so that it counts twice (variance.SKEW); on the other side
   nothing is taken off.

Coverage by documents, seeds and skew: results/calibration (calibration.few_documents). Below FEWEST
documents it may be below 93 %, and no word is given (fails_or_uses.py).

Shape letters: S seeds, A columns, D documents. Nats a token.
"""

from dataclasses import replace

import numpy as np

from lengthgen.statistics.variance import MeanSquares, Spread, spread

FEWEST = 8  # documents that a word can rest on


def corrected(squares: MeanSquares, table: np.ndarray, n_tokens: np.ndarray) -> Spread:
    """The spread of the mean of a table (S, A, D) with these mean squares, and n_tokens (A, D)."""
    plain = spread(squares)
    n_seeds, _, D = table.shape
    if D < 2:
        return plain
    total = n_tokens.sum(axis=1, keepdims=True)
    share = np.divide(n_tokens, total, out=np.full_like(n_tokens, np.nan), where=total > 0)
    of_document = table.mean(axis=0)
    distance = of_document - of_document.mean(axis=1, keepdims=True)
    pulled = np.divide(distance, 1 - share, out=np.full_like(distance, np.nan), where=share < 1)
    documents = (pulled**2).sum(axis=1) * (D - 1) / D**3
    documents = np.maximum(documents - squares.interaction / (n_seeds * D), 0)
    squared = share**2
    df = squared.sum(axis=1) ** 2 / (squared**2).sum(axis=1) - 1
    square = (distance**2).mean(axis=1)
    skewness = np.divide(
        (distance**3).mean(axis=1), square**1.5, out=np.zeros_like(square), where=square > 0
    )
    both = plain.seed + documents
    part = np.divide(documents, both, out=np.zeros_like(both), where=both > 0)
    return replace(
        plain,
        document=documents,
        document_df=np.clip(df, 1, D - 1),
        skewness=skewness * part**1.5 / np.sqrt(D),
    )
