"""Exact match: in what share of documents is the whole answer right? For data whose answers have one right form (Splits.answers).

Measured under teacher forcing: the model reads the document with the right answer in it, and a document matches if at every answer symbol
the most likely token is the right one. That is what greedy decoding gives. Write a_1 .. a_n for the answer and g_1 .. g_n for what is
decoded. If every symbol is a hit, then g_1 = a_1, for both are the most likely token after the prompt; and where g_1 .. g_i = a_1 .. a_i,
both continue the same text, so that g_{i+1} = a_{i+1}. If the first symbol that is no hit is a_i, then decoding comes to the same text
before it, and g_i is another token than a_i. Symbols between the answers that are given (the keys of mqar) are fed in both. This is exact
for schemes that are prefix-consistent; for others it is the exact match of decoding inside a window of the document's length.

Intervals, 95 %: of exact match Wilson's (1927, JASA 22), the document being the unit: it holds at 0 and 1 as well, where a bootstrap has no
width. It is for new documents, not for new seeds.

Shape letters: K draws of positions, W windows, P scored positions, D documents.
"""

from collections.abc import Sequence

import numpy as np

from lengthgen.data.splits import Splits
from lengthgen.evaluation.planners import Request
from lengthgen.statistics import bootstrap


def answers_of(request: Request, splits: Splits) -> np.ndarray | None:
    """(W, P) bool: which targets are answers; None for data without. Windows are whole documents, so their targets are all the symbols."""
    if splits.answers is None:
        return None
    return np.stack(
        [
            splits.answers(splits.validation.document(window.document)[1:].numpy())
            for window in request.windows
        ]
    )


def matches(hits: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(K, W, P) hits and (W, P) answers -> (W,) float64: 1 where every answer is a hit, in the mean over draws of positions."""
    return (hits | ~answers).all(axis=-1).mean(axis=0)


def wilson(n_right: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of n_right in n. A mean over draws may be no whole number: the interval is then too wide."""
    z = bootstrap.NORMAL.inv_cdf((1 + bootstrap.LEVEL) / 2)
    middle, half = n_right + z * z / 2, z * np.sqrt(n_right * (n - n_right) / n + z * z / 4)
    return max(0.0, float((middle - half) / (n + z * z))), min(
        1.0, float((middle + half) / (n + z * z))
    )


def chance(splits: Splits, requests: Sequence[Request]) -> list[dict] | None:
    """Exact match and token accuracy, at each length, of the best guess that reads nothing but the token before: what any result must beat.

    The guess is the commonest answer after that token in the training documents. It knows how answers begin, go on and end (in a sorted
    string the symbol said last often comes again) and nothing of the prompt. None for data without answers.
    """
    if splits.answers is None:
        return None
    guess = _guesses(splits)
    found = []
    for request in requests:
        answers = answers_of(request, splits)
        documents = np.stack(
            [splits.validation.document(window.document).numpy() for window in request.windows]
        )
        hits = guess[documents[:, :-1]] == documents[:, 1:]
        match, accuracy = matches(hits[None], answers).mean(), hits[answers].mean()
        found.append(
            {
                "eval_length": request.eval_length,
                "exact_match": float(match),
                "token_accuracy": float(accuracy),
            }
        )
    return found


def _guesses(splits: Splits) -> np.ndarray:
    """(V,) int64: the commonest answer after each token in the training documents, the lowest of equally common ones; -1 where none was."""
    store, vocab_size, pairs = splits.train, splits.vocab_size, []
    for index in range(store.n_documents):
        document = store.document(index).numpy()
        answers = splits.answers(document[1:])
        pairs.append(document[:-1][answers] * vocab_size + document[1:][answers])
    values, counts = np.unique(np.concatenate(pairs), return_counts=True)
    before, after = np.divmod(values, vocab_size)
    order = np.lexsort((-after, counts))  # the last one written for a token stays: the commonest
    guess = np.full(vocab_size, -1)
    guess[before[order]] = after[order]
    return guess
